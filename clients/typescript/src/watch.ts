import { durationFromMs, type Duration } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";

import {
  GetRunRequestSchema,
  ResultOrder,
  RunsService,
  RunState,
  type GetRunResponse,
  type ItemResult,
  type RunStatus,
} from "../generated/runs/v1/runs_pb.js";
import type { Outage } from "./outage.js";
import { messages, resumed, type Line } from "./stream.js";

/** What requests say of the messages that this client receives: no message is larger. */
export const ANY_SIZE = 2 ** 31 - 1;

const MISSED_HEARTBEATS = 3;
const LEAST_SILENCE = 1_000;

/** How a run is followed. Each member may be left out. */
export interface WatchOptions {
  /** Results come in the order in which items finish, and not by index. */
  byCompletion?: boolean;
  /** How often the gateway shows that it lives, in milliseconds: 10,000 by default. */
  heartbeat?: number;
  /** The token of an earlier update: go on after it. */
  token?: Uint8Array;
  signal?: AbortSignal;
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

/** The updates of a run until its end. */
export async function* watch(
  line: Line,
  outage: Outage,
  runId: string,
  options: WatchOptions,
): AsyncGenerator<Update, void> {
  const { heartbeat = 10_000, signal } = options;
  const request = create(GetRunRequestSchema, {
    runId,
    wait: true,
    includeResults: true,
    resultOrder: options.byCompletion === true ? ResultOrder.BY_COMPLETION : ResultOrder.BY_INDEX,
    heartbeatInterval: durationFromMs(heartbeat) satisfies Duration,
    resumeToken: options.token ?? new Uint8Array(),
    maxResponseMessageBytes: ANY_SIZE,
  });
  const silence = Math.max(LEAST_SILENCE, MISSED_HEARTBEATS * heartbeat);
  let last: GetRunResponse | undefined;
  let reconnected = false;
  const call = () =>
    messages(line, (transport, stop) => createClient(RunsService, transport).getRun(request, { signal: stop }), silence, signal);
  for await (const { message, first, cut } of resumed(call, outage, () => last?.run !== undefined && ended(last.run), signal)) {
    const { run, resumeToken: token, restarted } = message;
    if (run === undefined) continue;
    // The first message of a stream repeats the state that is known.
    outage.heard(!first || message.revision !== last?.revision || run.results.length > 0);
    request.resumeToken = token;
    last = message;
    reconnected ||= cut;
    if (message.heartbeat) continue;
    const results = run.results.splice(0);
    yield { run, results, token, restarted, reconnected };
    reconnected = false;
  }
}
