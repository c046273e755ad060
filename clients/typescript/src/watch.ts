import { createClient } from "@connectrpc/connect";

import { RunsService, type GetRunResponse } from "../generated/runs/v1/runs_pb.js";
import { Followed, HEARTBEAT, silenceOf, type Update } from "./followed.js";
import type { Line } from "./line.js";
import type { Outage } from "./outage.js";
import { messages, resumed, type Open } from "./stream.js";

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

/** The updates of a run until its end. */
export async function* watch(
  line: Line,
  outage: Outage,
  runId: string,
  options: WatchOptions,
): AsyncGenerator<Update, void> {
  const { byCompletion = false, heartbeat = HEARTBEAT, token, signal } = options;
  const run = new Followed(runId, { byCompletion, results: true, heartbeat }, token);
  const open: Open<GetRunResponse> = (transport, stop) =>
    createClient(RunsService, transport).getRun(run.ask(), { signal: stop });
  async function* call() {
    for await (const message of messages(line, open, silenceOf(heartbeat), signal)) {
      const update = run.take(message, [outage]);
      if (update !== undefined) yield update;
    }
  }
  yield* resumed(line, call, outage, (inOrder) => inOrder && run.ended, signal);
}
