/** The steps of the scenario, by the calls of the client. */
import { RunState, type ItemResult, type RunStatus } from "../generated/runs/v1/runs_pb.js";
import { ended, RunsClient, RunsError, RunSet, updated, type RunEvent, type SetEvent } from "../src/index.js";
import { grpc, type NodeOptions } from "../src/node.js";
import { array, member, object, showError, showResults, showState, summarize, text } from "./printing.js";

type Many = { count: number; pad: number };

/** A step of the scenario, with the arguments of all kinds of them. */
export interface Step {
  step: string;
  at: string;
  do: "put" | "submit" | "get" | "watch" | "watchMany" | "results" | "set" | "cancel" | "delete" | "list";
  as?: string;
  flow?: string;
  flowId?: string;
  inputs?: (string | Many)[];
  key?: string;
  labels?: Record<string, string>;
  sameAs?: string;
  run?: string;
  runId?: string;
  runs?: string[];
  runIds?: string[];
  order?: "byIndex" | "byCompletion";
  heartbeat?: number;
  slow?: boolean;
  summary?: boolean;
  states?: string[];
  results?: boolean;
  until?: "caughtUp" | "ended" | "empty";
  reason?: string;
  cancel?: boolean;
  pageSize?: number;
}

export interface Place extends NodeOptions {
  address: string;
  giveUpAfter?: number;
}

/** Plays steps, each with the client of its place, and remembers what later ones call by a name. */
export class Player {
  readonly #clients = new Map<string, RunsClient>();
  readonly #named = new Map<string, string>();

  constructor(readonly places: Record<string, Place>) {}

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  /** Plays a step, and gives its line. */
  async play(step: Step): Promise<string> {
    let told;
    try {
      told = await this[step.do](this.#client(step.at), step);
    } catch (error) {
      if (!(error instanceof RunsError)) throw error;
      told = showError(error);
    }
    return object(member("step", text(step.step)), told);
  }

  #client(name: string): RunsClient {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const place = this.places[name];
    if (place === undefined) throw new Error(`there is no place '${name}'`);
    const { address, giveUpAfter, ...options } = place;
    const client = new RunsClient(
      grpc(address, options),
      giveUpAfter === undefined ? {} : { giveUpAfter: 1_000 * giveUpAfter },
    );
    this.#clients.set(name, client);
    return client;
  }

  async put(client: RunsClient, { flow = "", as = "" }: Step): Promise<string> {
    const flowId = await client.putFlow(flow);
    this.#named.set(as, flowId);
    return member("flowId", text(flowId));
  }

  async submit(client: RunsClient, step: Step): Promise<string> {
    const { key, labels = {}, as = "", sameAs } = step;
    const options = key === undefined ? { labels } : { key, labels };
    const flowId = step.flowId ?? this.#id(step.flow);
    const run = await client.submit(flowId, (step.inputs ?? []).flatMap(inputs), options);
    this.#named.set(as, run.runId);
    const told = [member("flowName", text(run.flowName)), member("total", text(run.items?.total ?? 0n))];
    if (sameAs !== undefined) told.push(member("same", text(this.#named.get(sameAs) === run.runId)));
    return told.join(",");
  }

  async get(client: RunsClient, step: Step): Promise<string> {
    return showState(await client.get(this.#run(step)));
  }

  async watch(client: RunsClient, step: Step): Promise<string> {
    const runId = this.#run(step);
    let run: RunStatus | undefined;
    let reconnected = false;
    for await (const update of client.watch(runId, heartbeat(step))) {
      if (run === undefined && step.slow === true) await client.wait(runId);
      run = updated(run, update);
      reconnected ||= update.reconnected;
    }
    if (run === undefined) throw new Error("a run has ended without an update");
    return [showRun(step, run), member("reconnected", text(reconnected))].join(",");
  }

  async watchMany(client: RunsClient, step: Step): Promise<string> {
    const runIds = [...(step.runs ?? []).map((name) => this.#id(name)), ...(step.runIds ?? [])];
    const byCompletion = step.order === "byCompletion";
    const { outcomes, reconnected } = await collectMany(client.watchMany(runIds, { byCompletion, ...heartbeat(step) }));
    const runs = runIds.map((runId) => {
      const outcome = outcomes.get(runId);
      if (outcome === undefined) throw new Error("a run has ended without an update");
      return object(outcome instanceof RunsError ? showError(outcome) : showRun(step, outcome));
    });
    return [member("runs", array(runs)), member("reconnected", text(reconnected))].join(",");
  }

  async results(client: RunsClient, step: Step): Promise<string> {
    const results = [];
    const byCompletion = step.order === "byCompletion";
    for await (const result of client.results(this.#run(step), { byCompletion })) results.push(result);
    return shown(step, results);
  }

  async set(client: RunsClient, step: Step): Promise<string> {
    const events = client.watchSet(filter(step), { results: step.results ?? false });
    const { picture, reconnected } = await collect(events, (runs) => isComplete(runs, step.until));
    const runs = [...picture.values()].map((run) => {
      const members = [member("name", text(run.labels["name"])), showState(run)];
      if (step.results === true) members.push(member("results", showResults(run.results)));
      return object(...members);
    });
    // Each begins with its name.
    return [member("runs", array(runs.sort())), member("reconnected", text(reconnected))].join(",");
  }

  async cancel(client: RunsClient, step: Step): Promise<string> {
    return showState(await client.cancel(this.#run(step), step.reason));
  }

  async delete(client: RunsClient, step: Step): Promise<string> {
    await client.delete(this.#run(step), { cancel: step.cancel ?? false });
    return member("deleted", "true");
  }

  async list(client: RunsClient, step: Step): Promise<string> {
    const names = [];
    for (let token = ""; ; ) {
      const page = await client.list(filter(step), step.pageSize, token);
      names.push(...page.runs.map((run) => run.labels["name"]));
      token = page.next;
      if (token === "") return [member("runs", text(names)), member("total", text(page.total))].join(",");
    }
  }

  #run(step: Step): string {
    return step.runId ?? this.#id(step.run);
  }

  /** The id of what an earlier step has called so. */
  #id(name = ""): string {
    return this.#named.get(name) ?? "";
  }
}

/** Follows a set until its picture is complete, and is as it is wanted. It also tells of cuts. */
export async function collect(
  events: AsyncIterable<SetEvent>,
  wanted: (picture: RunSet) => boolean,
): Promise<{ picture: RunSet; reconnected: boolean }> {
  const picture = new RunSet();
  let reconnected = false;
  let caughtUp = false;
  for await (const event of events) {
    picture.addEvent(event);
    // After a cut, the set tells what has happened meanwhile, and is complete then.
    caughtUp = event.kind === "caughtUp" || (caughtUp && !event.restarted && !event.reconnected);
    reconnected ||= event.reconnected;
    if (caughtUp && wanted(picture)) break;
  }
  return { picture, reconnected };
}

/** What has come of one of many runs: its last state, with all results, or an error. */
export type Outcome = RunStatus | RunsError;

/** Follows many runs until each has ended. It also tells of cuts. */
export async function collectMany(
  events: AsyncIterable<RunEvent>,
): Promise<{ outcomes: Map<string, Outcome>; reconnected: boolean }> {
  const runs = new Map<string, RunStatus>();
  const errors = new Map<string, RunsError>();
  let reconnected = false;
  for await (const event of events) {
    if (event.kind === "failed") errors.set(event.runId, event.error);
    if (event.kind !== "update") continue;
    runs.set(event.runId, updated(runs.get(event.runId), event.update));
    reconnected ||= event.update.reconnected;
  }
  return { outcomes: new Map<string, Outcome>([...runs, ...errors]), reconnected };
}

/** Whether a set that is complete has come to where a step follows it to. */
function isComplete(picture: RunSet, until: Step["until"]): boolean {
  if (until === "caughtUp") return true;
  return until === "empty" ? picture.size === 0 : picture.size > 0 && [...picture.values()].every(ended);
}

/** The texts of inputs: one that is given as such, or many alike. */
function inputs(given: string | Many): string[] {
  if (typeof given === "string") return [given];
  return Array.from({ length: given.count }, (_, index) => `[${index},"${"x".repeat(given.pad)}"]`);
}

function filter({ labels = {}, states = [] }: Step) {
  const named = (name: string) => RunState[name.toUpperCase() as keyof typeof RunState];
  return { labels, states: states.map(named) };
}

function heartbeat({ heartbeat }: Step): { heartbeat?: number } {
  return heartbeat === undefined ? {} : { heartbeat: 1_000 * heartbeat };
}

function showRun(step: Step, run: RunStatus): string {
  return [showState(run), shown(step, run.results)].join(",");
}

function shown({ summary }: Step, results: ItemResult[]): string {
  return member("results", summary === true ? summarize(results) : showResults(results));
}
