import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";

import { RunsService, WatchRunsRequestSchema, type WatchRunsResponse } from "../generated/runs/v1/runs_pb.js";
import { lost, toldError, type RunsError } from "./errors.js";
import { Followed, HEARTBEAT, silenceOf, type Update } from "./followed.js";
import type { Line } from "./line.js";
import type { Outage } from "./outage.js";
import { messages, resumed, type Open } from "./stream.js";

/** The least time between the heartbeats of a stream, of whatever run, in milliseconds. */
const HEARTBEAT_SHARE = 100;

/** How many characters of an id messages have, if it is none. */
const LONGEST_NAME = 255;

/** How many runs are followed. Each member may be left out. */
export interface ManyOptions {
  /** Results come in the order in which items finish, and not by index. */
  byCompletion?: boolean;
  /** Ask for results; true by default. */
  results?: boolean;
  /** How often the gateway shows of each run that it lives, in milliseconds: 10,000 by default, more with very many. */
  heartbeat?: number;
  /** The tokens of earlier updates, by the ids of their runs: go on after them. */
  tokens?: ReadonlyMap<string, Uint8Array>;
  signal?: AbortSignal;
}

/** Something that has happened to one of many runs: a change; its end; or the error for which it cannot be followed. */
export type RunEvent =
  | { readonly kind: "update"; readonly runId: string; readonly update: Update }
  | { readonly kind: "ended"; readonly runId: string }
  | { readonly kind: "failed"; readonly runId: string; readonly error: RunsError };

/** The events of many runs on one stream, until each has ended. `outage` makes the outage of a run, and of the stream. */
export async function* watchMany(
  line: Line,
  outage: () => Outage,
  runIds: Iterable<string>,
  options: ManyOptions,
): AsyncGenerator<RunEvent, void> {
  const { byCompletion = false, results = true, tokens, signal } = options;
  const unique = new Map(Array.from(runIds, (runId) => [nameOf(runId), runId]));
  const heartbeat = Math.max(options.heartbeat ?? HEARTBEAT, HEARTBEAT_SHARE * unique.size);
  const wanted = { byCompletion, results, heartbeat };
  const going = new Map<string, OneOfMany>();
  for (const [name, runId] of unique) {
    going.set(name, new OneOfMany(new Followed(runId, wanted, tokens?.get(runId)), outage()));
  }
  const whole = outage();

  const open: Open<WatchRunsResponse> = (transport, stop) => {
    const adds = Array.from(going.values(), ({ run }) =>
      create(WatchRunsRequestSchema, { action: { case: "add", value: run.ask() } }),
    );
    return createClient(RunsService, transport).watchRuns(createAsyncIterable(adds), { signal: stop });
  };
  async function* call() {
    if (going.size === 0) return;
    for await (const message of messages(line, open, silenceOf(heartbeat), signal)) {
      const event = going.get(message.runId)?.take(message, whole);
      if (event === undefined) continue;
      if (event.kind !== "update") going.delete(message.runId);
      yield event;
    }
  }
  yield* resumed(line, call, whole, () => going.size === 0, signal);
}

/** A run that may fail alone: what is heard of others on its stream says nothing of it. */
class OneOfMany {
  constructor(
    readonly run: Followed,
    readonly outage: Outage,
  ) {}

  /** What a message tells. Throws an error that passes: it is that of the stream, which begins anew. */
  take({ event }: WatchRunsResponse, whole: Outage): RunEvent | undefined {
    const { runId } = this.run;
    if (event.case === "update") {
      const update = this.run.take(event.value, [this.outage, whole]);
      return update === undefined ? undefined : { kind: "update", runId, update };
    }
    if (event.case !== "error" && this.run.ended) {
      whole.heard();
      return { kind: "ended", runId };
    }
    const error =
      event.case === "error"
        ? toldError(event.value.code, event.value.message, event.value.statusDetails)
        : lost("the gateway has stopped following a run that goes on");
    const passes = this.outage.pause(error) !== undefined;
    whole.heard(!passes);
    if (passes) throw error;
    return { kind: "failed", runId, error };
  }
}

/** What messages call a run: its id, or the beginning of what is none. */
function nameOf(runId: string): string {
  return runId.length <= LONGEST_NAME ? runId : Array.from(runId).slice(0, LONGEST_NAME).join("");
}
