/** A client of the gateway, for Node (`./node.js`) and for browsers (`./web.js`). Payloads are JSON texts, in and out. */
export { RunsClient } from "./client.js";
export type { ClientOptions, Page, SubmitOptions } from "./client.js";
export type { Connect, Connection } from "./connection.js";
export { RunsError } from "./errors.js";
export type { Violation } from "./errors.js";
export { RunSet } from "./set.js";
export type { SetEvent, SetOptions } from "./set.js";
export { ended } from "./watch.js";
export type { Update, WatchOptions } from "./watch.js";
