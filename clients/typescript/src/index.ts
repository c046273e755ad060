/** A client of the gateway, for Node (`./node.js`) and for browsers (`./web.js`). Payloads are JSON texts, in and out. */
export { RunsClient } from "./client.js";
export type { ClientOptions, DeleteOptions, Page, SubmitOptions } from "./client.js";
export type { Connect, Connection } from "./connection.js";
export { RunsError } from "./errors.js";
export type { Violation } from "./errors.js";
export { ended, updated } from "./followed.js";
export type { Update } from "./followed.js";
export type { ManyOptions, RunEvent } from "./many.js";
export { RunSet } from "./set.js";
export type { SetEvent, SetOptions } from "./set.js";
export type { WatchOptions } from "./watch.js";
