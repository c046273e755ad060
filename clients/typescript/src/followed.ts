import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import {
  GetRunRequestSchema,
  ResultOrder,
  RunState,
  type GetRunRequest,
  type GetRunResponse,
  type ItemResult,
  type RunStatus,
} from "../generated/runs/v1/runs_pb.js";
import type { Outage } from "./outage.js";

/** What requests say of the messages that this client receives: no message is larger. */
export const ANY_SIZE = 2 ** 31 - 1;

/** How often the gateway shows that it lives, in milliseconds, if the caller does not say. */
export const HEARTBEAT = 10_000;

const MISSED_HEARTBEATS = 3;
const LEAST_SILENCE = 1_000;

/** What a run is asked for. */
export interface Wanted {
  readonly byCompletion: boolean;
  readonly results: boolean;
  /** In milliseconds. */
  readonly heartbeat: number;
}

/** A change of a run. */
export interface Update {
  /** The whole state, without results. */
  readonly run: RunStatus;
  /** Those that no earlier update had. */
  readonly results: ItemResult[];
  /** Names the point after this update. */
  readonly token: Uint8Array;
  /** Results begin anew: earlier ones count no more. */
  readonly restarted: boolean;
  /** The connection was lost before this update. */
  readonly reconnected: boolean;
}

/** Whether a run has ended: its state is final. */
export function ended(run: RunStatus): boolean {
  return [RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED].includes(run.status);
}

/** The run after an update, with all results. `known` is the run before it. */
export function updated(known: RunStatus | undefined, { run, results, restarted }: Update): RunStatus {
  const before = known === undefined || restarted ? [] : known.results;
  // The array grows: copies of it, one for each update, would take longer and longer.
  for (const result of results) before.push(result);
  run.results = before;
  return run;
}

/** How long a stream may be silent before its connection counts as lost, in milliseconds. */
export function silenceOf(heartbeat: number): number {
  return Math.max(LEAST_SILENCE, MISSED_HEARTBEATS * heartbeat);
}

/** How far a run has been followed: alone on a stream, or with others. */
export class Followed {
  #token: Uint8Array;
  #revision: bigint | undefined;
  #ended = false;
  #asked = false;
  #first = true;
  #cut = false;

  constructor(
    readonly runId: string,
    readonly wanted: Wanted,
    token: Uint8Array = new Uint8Array(),
  ) {
    this.#token = token;
  }

  /** Whether it has told a final state. More results may be to come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The request for what has not come yet, at the beginning of a stream. */
  ask(): GetRunRequest {
    this.#cut ||= this.#asked;
    this.#asked = this.#first = true;
    return create(GetRunRequestSchema, {
      runId: this.runId,
      wait: true,
      includeResults: this.wanted.results,
      resultOrder: this.wanted.byCompletion ? ResultOrder.BY_COMPLETION : ResultOrder.BY_INDEX,
      heartbeatInterval: durationFromMs(this.wanted.heartbeat),
      resumeToken: this.#token,
      maxResponseMessageBytes: ANY_SIZE,
    });
  }

  /** Remembers where a message has come to. What it tells; nothing if it is a heartbeat. */
  take({ run, revision, resumeToken: token, restarted, heartbeat }: GetRunResponse, outages: Outage[]): Update | undefined {
    if (run === undefined) return undefined;
    // The first message of a stream repeats the state that is known.
    const progress = !this.#first || revision !== this.#revision || run.results.length > 0;
    for (const outage of outages) outage.heard(progress);
    this.#first = false;
    this.#revision = revision;
    this.#ended = ended(run);
    this.#token = token;
    if (heartbeat) return undefined;
    const reconnected = this.#cut;
    this.#cut = false;
    const results = run.results;
    run.results = [];
    return { run, results, token, restarted, reconnected };
  }
}
