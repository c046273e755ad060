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

  /** How long to pause before the next call; undefined if that would not help, or not in time. */
  pause(error: RunsError): number | undefined {
    if (!error.passes) return undefined;
    // Half of a pause is random: clients that were cut at the same time do not come back at the same time.
    const pause = this.#pause * (0.5 + Math.random() / 2) + error.retryAfter;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    if (error.reason === "GO_AWAY") {
      this.#since = undefined; // The gateway answers, and asks for another connection.
      return pause;
    }
    const now = Date.now();
    this.#since ??= now;
    return now + pause > this.#since + this.patience ? undefined : pause;
  }
}
