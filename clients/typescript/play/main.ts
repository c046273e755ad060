/** Plays the scenario of all clients, or is a client for the conformance kit. */
import { readFileSync } from "node:fs";

import { ended, RunsClient, RunsError } from "../src/index.js";
import { grpc } from "../src/node.js";
import { web } from "../src/web.js";
import { member, object, showResults, stateName, text } from "./printing.js";
import { collect, collectMany, Player, type Outcome, type Place, type Step } from "./steps.js";

const USAGE = "usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID... | set ADDRESS RUN_ID";

async function play(scenario: string, places: string): Promise<void> {
  const player = new Player(JSON.parse(readFileSync(places, "utf8")) as Record<string, Place>);
  const steps = JSON.parse(readFileSync(scenario, "utf8")) as Step[];
  for (const step of steps) console.log(await player.play(step));
  player.close();
}

async function follow(address: string, runId: string): Promise<void> {
  const client = connected(address);
  try {
    console.log(showOutcome(await client.wait(runId)));
  } catch (error) {
    if (!(error instanceof RunsError)) throw error;
    console.log(showOutcome(error));
  } finally {
    client.close();
  }
}

async function followMany(address: string, runIds: readonly string[]): Promise<void> {
  const client = connected(address);
  const { outcomes } = await collectMany(client.watchMany(runIds));
  client.close();
  console.log(object(...Array.from(outcomes, ([runId, outcome]) => member(runId, showOutcome(outcome)))));
}

async function followSet(address: string, runId: string): Promise<void> {
  const client = connected(address);
  const { picture } = await collect(client.watchSet(), (runs) => {
    const run = runs.get(runId);
    return run !== undefined && ended(run);
  });
  client.close();
  console.log(text(Object.fromEntries([...picture].map(([id, run]) => [id, stateName(run.status)]))));
}

function showOutcome(of: Outcome): string {
  if (of instanceof RunsError) return object(member("error", text(of.code)));
  return object(member("status", text(stateName(of.status))), member("results", showResults(of.results)));
}

/** Over gRPC; or as a page does: to a URL over gRPC-Web, and with `connect+` before it over Connect. */
function connected(address: string): RunsClient {
  const url = address.replace(/^connect\+/, "");
  return new RunsClient(url.startsWith("http") ? web(url, { connect: url !== address }) : grpc(address));
}

const modes: Record<string, (first: string, second: string) => Promise<void>> = { play, follow, set: followSet };
const [mode = "", first, ...others] = process.argv.slice(2);
const [second, ...more] = others;
const chosen = modes[mode];
if (mode === "watch" && first !== undefined) {
  await followMany(first, others);
} else if (chosen !== undefined && first !== undefined && second !== undefined && more.length === 0) {
  await chosen(first, second);
} else {
  console.error(USAGE);
  process.exitCode = 64;
}
