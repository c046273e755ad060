import type { RunsError } from "./errors.js";

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5_000;

/** The time for which a gateway has not answered, and the pauses between the calls in that time. In milliseconds. */
export class Outage {
  #since: number | undefined;
  #pause = FIRST_PAUSE;

  constructor(readonly patience: number) {}

  /** Takes note of an answer. Without progress the pauses still grow: the next call may fail as well. */
  heard(progress = true): void {
    this.#since = undefined;
    if (progress) this.#pause = FIRST_PAUSE;
  }

  /** Pauses before the next call. Throws the error if another call would not help, or not in time. */
  async wait(error: RunsError, signal?: AbortSignal): Promise<void> {
    if (!error.passes) throw error;
    // Half of a pause is random: clients that were cut at the same time do not come back at the same time.
    const pause = this.#pause * (0.5 + Math.random() / 2) + error.retryAfter;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    const now = Date.now();
    if (error.reason === "GO_AWAY") {
      this.#since = undefined; // The gateway answers, and asks for another connection.
    } else {
      this.#since ??= now;
      if (now + pause > this.#since + this.patience) throw error;
    }
    await sleep(pause, signal);
  }
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
