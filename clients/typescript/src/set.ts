import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";

import {
  RunsService,
  SetEvent as SetEventKind,
  WatchRunsRequestSchema,
  WatchSetSchema,
  type ItemResult,
  type RunFilterSchema,
  type RunStatus,
  type WatchRunsResponse,
} from "../generated/runs/v1/runs_pb.js";
import { lost, toldError } from "./errors.js";
import { ANY_SIZE } from "./followed.js";
import type { Line } from "./line.js";
import type { Outage } from "./outage.js";
import { messages, resumed, type Open } from "./stream.js";

/** Which runs. */
export type Filter = MessageInitShape<typeof RunFilterSchema>;

/** How a set is followed. Each member may be left out. */
export interface SetOptions {
  /** Leave out what is in the set already. */
  onlyNew?: boolean;
  /** Ask for the results of runs that have ended. */
  results?: boolean;
  /** The token of an earlier event: go on after it. */
  token?: Uint8Array;
  signal?: AbortSignal;
}

/** Something that has happened to a set. */
export interface SetEvent {
  /** `caughtUp`: all has been told that had happened when the set was asked for. It concerns no run. */
  readonly kind: "added" | "changed" | "left" | "caughtUp";
  readonly runId: string;
  /** The whole state, with results if they were asked for and it has ended. None if the run has been deleted. */
  readonly run?: RunStatus;
  /** Names the point after this event. */
  readonly token: Uint8Array;
  /** The set begins anew: earlier events count no more. */
  readonly restarted: boolean;
  /** The connection was lost before this event. */
  readonly reconnected: boolean;
}

const KINDS: Partial<Record<SetEventKind, SetEvent["kind"]>> = {
  [SetEventKind.ADDED]: "added",
  [SetEventKind.LEFT]: "left",
};

/** The events of the runs that match a filter, without an end. */
export async function* watchSet(
  line: Line,
  outage: Outage,
  filter: Filter,
  options: SetOptions,
): AsyncGenerator<SetEvent, void> {
  const { signal } = options;
  const set = create(WatchSetSchema, {
    name: "runs",
    filter,
    resumeToken: options.token ?? new Uint8Array(),
    includeResults: options.results ?? false,
    maxResponseMessageBytes: ANY_SIZE,
  });
  const open: Open<WatchRunsResponse> = (transport, stop) => {
    set.onlyNew = options.onlyNew === true && set.resumeToken.length === 0;
    const request = create(WatchRunsRequestSchema, { action: { case: "addSet", value: set } });
    return createClient(RunsService, transport).watchRuns(createAsyncIterable([request]), { signal: stop });
  };
  let begun = false;
  async function* call() {
    let parts = new Parts(begun);
    begun = true;
    for await (const message of messages(line, open, undefined, signal)) {
      const event = parts.add(checked(message));
      outage.heard();
      if (event === undefined) continue;
      set.resumeToken = event.token;
      parts = new Parts();
      yield event;
    }
  }
  yield* resumed(line, call, outage, () => false, signal);
}

/** The message, if it tells of the set. Throws the error that it tells otherwise. */
function checked(message: WatchRunsResponse): WatchRunsResponse {
  const { event } = message;
  if (event.case === "error") throw toldError(event.value.code, event.value.message, event.value.statusDetails);
  if (event.case === "caughtUp" || event.case === "update") return message;
  throw lost("the gateway has stopped following the set");
}

/** An event that comes in one or several messages: the results of a run may be too many for one. */
class Parts {
  readonly #results: ItemResult[] = [];
  #restarted = false;

  constructor(readonly reconnected = false) {}

  /** Adds a message. The event, if it is complete. */
  add({ event, runId, setEvent }: WatchRunsResponse): SetEvent | undefined {
    if (event.case === "caughtUp") {
      const { resumeToken: token, restarted } = event.value;
      return { kind: "caughtUp", runId: "", token, restarted, reconnected: this.reconnected };
    }
    if (event.case !== "update") return undefined;
    const { run, resumeToken: token, restarted } = event.value;
    for (const result of run?.results ?? []) this.#results.push(result);
    this.#restarted ||= restarted;
    if (token.length === 0) return undefined;
    if (run !== undefined) run.results = this.#results;
    const kind = KINDS[setEvent] ?? "changed";
    const told = { kind, runId, token, restarted: this.#restarted, reconnected: this.reconnected };
    return run === undefined ? told : { ...told, run };
  }
}

/** The picture of a set that its events make: its runs, by their ids. */
export class RunSet extends Map<string, RunStatus> {
  /** Adds the next event. */
  addEvent(event: SetEvent): void {
    if (event.restarted) this.clear();
    if (event.kind === "caughtUp") return;
    if (event.kind === "left" || event.run === undefined) this.delete(event.runId);
    else this.set(event.runId, event.run);
  }
}
