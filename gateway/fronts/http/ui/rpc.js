// Calls of the gateway, and its refusals in words.

import { headers } from "./session.js";
import { parseExactly } from "./exact.js";

/** The gateway, wherever a proxy has put it: this file is at `ui/rpc.js` below it. */
export const ROOT = new URL("..", import.meta.url);

const EVENTS = "text/event-stream";

let calls = 0;

/** Why a call has failed. `kind`: login, denied, limit, away, gone, unsupported, other. */
export class CallError extends Error {
  constructor(kind, message, retryAfter = null) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }

  get passes() {
    return this.kind === "limit" || this.kind === "away";
  }
}

/** Posts a call, and returns the response. Throws CallError unless its status is 200. */
export async function post(method, params, { signal, accept = "application/json", lastEventId = "" } = {}) {
  const more = { "Content-Type": "application/json", Accept: accept };
  if (lastEventId) more["Last-Event-ID"] = lastEventId;
  calls += 1;
  const body = JSON.stringify({ jsonrpc: "2.0", id: calls, method, params });
  const response = await checked(await reached(ROOT, { method: "POST", headers: headers(more), body, signal, cache: "no-store" }));
  if (accept === EVENTS && !response.headers.get("Content-Type")?.startsWith(EVENTS)) {
    // There is no stream, and the answer says why.
    throw errorOf(parsed(await textOf(response)).error ?? {}, 200, null);
  }
  return response;
}

/** Opens a stream of events at a path below the page. */
export async function open(path, { signal } = {}) {
  const more = { Accept: EVENTS };
  return checked(await reached(new URL(path, ROOT), { headers: headers(more), signal, cache: "no-store" }));
}

/** Calls a method and returns its result. With `exact`, numbers are as they were sent: see `exact.js`. */
export async function call(method, params, { signal, exact = false } = {}) {
  const answer = parsed(await textOf(await post(method, params, { signal })), exact ? parseExactly : JSON.parse);
  if (answer.error) throw errorOf(answer.error, 200, null);
  return answer.result;
}

async function reached(url, options) {
  // What can be no request fails here, and is no matter of the network.
  const request = new Request(url, options);
  return overNetwork(fetch(request));
}

/** The result of what goes over the network, whose failures are the same TypeError as mistakes of a script. */
export async function overNetwork(work) {
  try {
    return await work;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallError("away", "the gateway cannot be reached");
  }
}

function textOf(response) {
  return overNetwork(response.text());
}

function parsed(text, parse = JSON.parse) {
  try {
    return parse(text);
  } catch {
    throw new CallError("away", "something else than the gateway has answered");
  }
}

async function checked(response) {
  if (response.status === 200) return response;
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  let error = { message: `the gateway answered ${response.status} ${response.statusText}`.trim() };
  try {
    error = (await response.json()).error ?? error;
  } catch {
    // A proxy has answered, not the gateway.
  }
  throw errorOf(error, response.status, retryAfter);
}

/** A JSON-RPC error as an error here. */
export function errorOf(error, status, retryAfter) {
  const message = typeof error.message === "string" ? error.message : "the call failed";
  const reason = String(error.data?.reason ?? error.status ?? "");
  return new CallError(kindOf(status, reason, Number(error.code)), message, retryAfter ?? numberOrNull(error.data?.retryAfterSecs));
}

function kindOf(status, reason, code) {
  if (status === 401 || /UNAUTHENTICATED/.test(reason)) return "login";
  if (status === 403 || /PERMISSION_DENIED/.test(reason)) return "denied";
  if (status === 429) return "limit";
  if (status === 502 || status === 503 || status === 504 || /UNAVAILABLE|OVERLOADED|DRAINING/.test(reason)) return "away";
  if (status === 501 || /UNSUPPORTED/.test(reason)) return "unsupported";
  if (/NOT_FOUND/.test(reason) || status === 404 || code === -32002) return "gone";
  return "other";
}

function numberOrNull(value) {
  return typeof value === "number" ? value : null;
}

/** What to tell people. */
export function inWords(error) {
  if (!(error instanceof CallError)) return `this page failed: ${error.message}`;
  if (error.kind === "denied") return `Your token does not permit this: ${error.message}`;
  if (error.kind === "limit") {
    const when = error.retryAfter === null ? "in a while" : `in ${Math.ceil(error.retryAfter)} s`;
    return `Too much at once: ${error.message}. Try again ${when}.`;
  }
  return error.message.charAt(0).toUpperCase() + error.message.slice(1);
}
