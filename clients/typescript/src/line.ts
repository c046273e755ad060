import type { Connect, Connection } from "./connection.js";
import { closed, type RunsError } from "./errors.js";
import type { Outage } from "./outage.js";

/** The connection of a client, and the pauses between its calls, until it is closed. */
export class Line {
  /** What is called when the client is closed. Not by a signal, for which many streams would seem to be a leak. */
  readonly atEnd = new Set<() => void>();
  readonly #connect: Connect;
  #connection: Connection;
  #closed = false;

  constructor(connect: Connect) {
    this.#connect = connect;
    this.#connection = connect();
  }

  /** Throws RunsError if the client is closed. */
  connection(): Connection {
    if (this.#closed) throw closed();
    return this.#connection;
  }

  /** Gives up a connection that is silent: another stream on it would be, too. */
  renew(silent: Connection): void {
    if (this.#connection === silent && !this.#closed) this.#connection = this.#connect();
    silent.close();
  }

  /**
   * Pauses before the next call. Throws the error if that would not help, or not in time; another one if the client is
   * closed, and the reason of the signal if that comes.
   */
  async pause(outage: Outage, error: RunsError, signal: AbortSignal | undefined): Promise<void> {
    const pause = outage.pause(error);
    if (pause === undefined && !this.#closed) throw error;
    if (!this.#closed) await this.#sleep(pause ?? 0, signal);
    signal?.throwIfAborted();
    if (this.#closed) throw closed();
  }

  close(): void {
    this.#closed = true;
    this.#connection.close();
    for (const end of [...this.atEnd]) end();
  }

  /** Ends early with the signal, or the client. */
  #sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        this.atEnd.delete(end);
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.atEnd.add(end);
      signal?.addEventListener("abort", end);
      if (signal?.aborted === true) end();
    });
  }
}
