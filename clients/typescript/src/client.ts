import { createClient, type CallOptions } from "@connectrpc/connect";

import { BlobsService, BlobType } from "../generated/runs/v1/blobs_pb.js";
import { RunsService, type ItemResult, type RunStatus } from "../generated/runs/v1/runs_pb.js";
import type { Connect, Connection } from "./connection.js";
import { lost, runsError } from "./errors.js";
import { ANY_SIZE, updated, type Update } from "./followed.js";
import { Line } from "./line.js";
import { watchMany, type ManyOptions, type RunEvent } from "./many.js";
import { Outage } from "./outage.js";
import { watchSet, type Filter, type SetEvent, type SetOptions } from "./set.js";
import { watch, type WatchOptions } from "./watch.js";

/** What a client may be told. Each member may be left out. */
export interface ClientOptions {
  /** How long calls are tried again while the gateway cannot be reached, in milliseconds: 60,000 by default. */
  giveUpAfter?: number;
}

/** What a submit may be told. Each member may be left out. */
export interface SubmitOptions {
  /** Makes the submit safe to repeat, also in another process. Without one, each submit has a key of its own. */
  key?: string;
  /** Names and values by which the run can be found. */
  labels?: Record<string, string>;
  signal?: AbortSignal;
}

/** How a run is deleted. Each member may be left out. */
export interface DeleteOptions {
  /** Cancel it before, if it goes on. */
  cancel?: boolean;
  signal?: AbortSignal;
}

/** Some of the runs that a list has. */
export interface Page {
  readonly runs: RunStatus[];
  /** The token of the page that follows; empty at the end. */
  readonly next: string;
  /** How many runs match. */
  readonly total: bigint;
}

/** A client of a gateway. Errors are RunsError, or the reason of the signal that ends a call. */
export class RunsClient {
  readonly #patience: number;
  readonly #line: Line;

  /** Connects by `grpc(...)` of the module for Node, or `web(...)` of that for pages. */
  constructor(connect: Connect, { giveUpAfter = 60_000 }: ClientOptions = {}) {
    this.#patience = giveUpAfter;
    this.#line = new Line(connect);
  }

  /**
   * Closes the connection. Calls that follow, or pause, end at once, with an error whose code is CANCELLED, and so do all
   * others over gRPC; those of a page may still be answered.
   */
  close(): void {
    this.#line.close();
  }

  /** Stores a flow, and gives its id. */
  async putFlow(flow: string, signal?: AbortSignal): Promise<string> {
    const request = { content: { case: "json", value: flow }, type: BlobType.FLOW } as const;
    const call = (to: Connection, options: CallOptions) =>
      createClient(BlobsService, to.transport).putBlob(request, options);
    return (await this.#call(call, signal)).blobId;
  }

  /** Submits a run with one item for each input, and does not wait for it. */
  async submit(flowId: string, inputs: readonly string[], options: SubmitOptions = {}): Promise<RunStatus> {
    const request = {
      flowId,
      inputs: inputs.map((value) => ({ encoding: { case: "json", value } as const })),
      idempotencyKey: options.key ?? randomKey(),
      labels: options.labels ?? {},
      maxResponseMessageBytes: ANY_SIZE,
    };
    return present((await this.#call((to, how) => runs(to).submitRun(request, how), options.signal)).run);
  }

  /** The present state of a run, without results. */
  async get(runId: string, signal?: AbortSignal): Promise<RunStatus> {
    return this.#call(async (to, how) => {
      for await (const { run } of runs(to).getRun({ runId }, how)) return present(run);
      throw lost("the gateway has not answered");
    }, signal);
  }

  /** Each update of a run until its end. It goes on after cuts by itself. */
  watch(runId: string, options: WatchOptions = {}): AsyncGenerator<Update, void> {
    return watch(this.#line, new Outage(this.#patience), runId, options);
  }

  /** Each result of a run once: by index, or as its items finish. */
  async *results(runId: string, options: WatchOptions = {}): AsyncGenerator<ItemResult, void> {
    const seen = new Set<bigint>();
    for await (const update of this.watch(runId, options)) {
      for (const result of update.results) {
        // A stream that begins anew repeats what has come.
        if (!seen.has(result.itemIndex)) yield result;
        seen.add(result.itemIndex);
      }
    }
  }

  /** The last state of a run, with all results, when it has ended. */
  async wait(runId: string, options: WatchOptions = {}): Promise<RunStatus> {
    let run: RunStatus | undefined;
    for await (const update of this.watch(runId, options)) run = updated(run, update);
    return present(run);
  }

  /** The same as `watch` of many runs on one stream. A run that is given twice is followed once. */
  watchMany(runIds: Iterable<string>, options: ManyOptions = {}): AsyncGenerator<RunEvent, void> {
    return watchMany(this.#line, () => new Outage(this.#patience), runIds, options);
  }

  /** Follows the runs that match a filter, those that come later as well. It goes on after cuts by itself. */
  watchSet(filter: Filter = {}, options: SetOptions = {}): AsyncGenerator<SetEvent, void> {
    return watchSet(this.#line, new Outage(this.#patience), filter, options);
  }

  /** Cancels a run, and gives its state. A run that has ended stays as it is. */
  async cancel(runId: string, reason = "", signal?: AbortSignal): Promise<RunStatus> {
    return present((await this.#call((to, how) => runs(to).cancelRun({ runId, reason }, how), signal)).run);
  }

  /** Deletes a run that has ended. */
  async delete(runId: string, { cancel = false, signal }: DeleteOptions = {}): Promise<void> {
    let repeated = false;
    await this.#call(async (to, how) => {
      try {
        await runs(to).deleteRun({ runId, cancel }, how);
      } catch (error) {
        // An earlier call, whose answer was lost, may have deleted it.
        if (!repeated || runsError(error).reason !== "RUN_NOT_FOUND") throw error;
      } finally {
        repeated = true;
      }
    }, signal);
  }

  /** A page of the runs that match, the newest first. The first one has no token. */
  async list(filter: Filter = {}, pageSize = 0, pageToken = "", signal?: AbortSignal): Promise<Page> {
    const request = { filter, pageSize, pageToken, includeTotal: true };
    const answer = await this.#call((to, how) => runs(to).listRuns(request, how), signal);
    return { runs: answer.runs, next: answer.nextPageToken, total: answer.totalSize ?? 0n };
  }

  /** Makes a call, again and again while its error passes by itself. */
  async #call<T>(make: (to: Connection, how: CallOptions) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const outage = new Outage(this.#patience);
    for (;;) {
      signal?.throwIfAborted();
      try {
        return await make(this.#line.connection(), signal === undefined ? {} : { signal });
      } catch (error) {
        signal?.throwIfAborted();
        await this.#line.pause(outage, runsError(error), signal);
      }
    }
  }
}

function runs(to: Connection) {
  return createClient(RunsService, to.transport);
}

function present(run: RunStatus | undefined): RunStatus {
  if (run === undefined) throw lost("the gateway has answered without a run");
  return run;
}

/** Not `randomUUID`, which pages without TLS do not have. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16).padStart(8, "0")).join("");
}
