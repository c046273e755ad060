// Server-sent events over `fetch`, since EventSource sends no token. A stream goes on by itself after a cut.

import { Slice } from "./frames.js";
import { CallError, errorOf, overNetwork } from "./rpc.js";

const FIRST_DELAY = 0.5;
const LAST_DELAY = 15;

/**
 * Follows a stream until `signal` ends it, or for good after an error that does not pass: the page's own do not.
 *
 * `request(token)` opens it after a token; `onMessage(message)` gets each one, in slices of a frame. `onState` is told
 * "connecting", "live", "waiting" (with the seconds) and "failed" (with the error). A message that is a response ends it,
 * unless `onMessage` returns false before.
 */
export async function follow({ request, onMessage, onState, signal }) {
  let token = "";
  let failures = 0;
  onState("connecting");
  while (!signal.aborted) {
    let delay = FIRST_DELAY;
    try {
      const response = await request(token);
      for await (const event of eventsOf(response.body, signal)) {
        if (event.data) {
          failures = 0;
          onState("live");
          const message = JSON.parse(event.data);
          if (message.error && message.id !== undefined) throw errorOf(message.error, 200, null);
          if (onMessage(message) === false) return;
        }
        // After the message: a token must not pass one that has not been taken.
        if (event.id !== undefined) token = event.id;
        if (event.retry !== undefined) delay = event.retry / 1000;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!error.passes) {
        if (!(error instanceof CallError)) reportError(error);
        onState("failed", error);
        return;
      }
      if (error.retryAfter !== null) delay = error.retryAfter;
    }
    if (signal.aborted) return;
    if (failures) delay = Math.max(delay, Math.min(LAST_DELAY, FIRST_DELAY * 2 ** failures) * (0.75 + Math.random() / 2));
    failures += 1;
    onState("waiting", delay);
    await passed(delay, signal);
  }
}

/** The events of a body. Each has `data`, `id` and `retry` if they were sent. */
export async function* eventsOf(body, signal) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const slice = new Slice();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await overNetwork(reader.read());
      if (done || signal.aborted) return;
      rest += decoder.decode(value, { stream: true });
      let start = 0;
      for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n", start)) {
        yield parseEvent(rest.slice(start, end));
        start = end + 2;
        if (slice.over) await slice.rest();
        if (signal.aborted) return;
      }
      rest = rest.slice(start);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(text) {
  const event = {};
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // A comment.
    const name = line.slice(0, colon);
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (name === "id") event.id = value;
    else if (name === "retry") event.retry = Number(value) || 0;
  }
  return event;
}

/** Waits, and no longer than until `signal`, or until the machine is online again. */
export function passed(seconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, seconds * 1000);
    signal.addEventListener("abort", end);
    addEventListener("online", end);
  });
}
