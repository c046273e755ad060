import type { Transport } from "@connectrpc/connect";

import { lost, runsError } from "./errors.js";
import type { Line } from "./line.js";
import type { Outage } from "./outage.js";

/** Opens a stream. It knows what to ask for after a cut. */
export type Open<Message> = (transport: Transport, signal: AbortSignal) => AsyncIterable<Message>;

/**
 * The messages of a stream until a cut, or its end. With `silence`, the connection counts as lost when nothing has
 * come for so many milliseconds. Throws RunsError, or the reason of the caller's signal.
 */
export async function* messages<Message>(
  line: Line,
  open: Open<Message>,
  silence: number | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Message, void> {
  const connection = line.connection();
  const ending = new AbortController();
  const stop = () => ending.abort();
  signal?.addEventListener("abort", stop, { once: true });
  line.atEnd.add(stop);
  let silent = false;
  const fallSilent = () => {
    silent = true;
    ending.abort();
  };
  try {
    signal?.throwIfAborted();
    const reading = open(connection.transport, ending.signal)[Symbol.asyncIterator]();
    for (;;) {
      // Not while the caller is busy: a slow reader hears nothing, whatever comes.
      const timer = silence === undefined ? undefined : setTimeout(fallSilent, silence);
      const next = await reading.next().finally(() => clearTimeout(timer));
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (!silent) throw runsError(error);
    line.renew(connection);
    throw lost(`nothing has come from the gateway for ${silence} ms`);
  } finally {
    signal?.removeEventListener("abort", stop);
    line.atEnd.delete(stop);
    ending.abort();
  }
}

/**
 * What calls tell, over cuts, with a pause before each further call, until `complete` says of an end that it is one:
 * of one in order, or of an error.
 */
export async function* resumed<Event>(
  line: Line,
  call: () => AsyncGenerator<Event, void>,
  outage: Outage,
  complete: (inOrder: boolean) => boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Event, void> {
  for (;;) {
    let error;
    const reading = call();
    try {
      for (;;) {
        const next = await reading.next().catch((thrown: unknown) => ({ thrown }));
        if ("thrown" in next) {
          error = next.thrown;
          break;
        }
        if (next.done === true) break;
        yield next.value;
      }
    } finally {
      await reading.return();
    }
    signal?.throwIfAborted();
    if (complete(error === undefined)) return;
    // A proxy that shortens deadlines lets the gateway end a stream in order.
    await line.pause(outage, runsError(error ?? lost("the stream has ended too early")), signal);
  }
}
