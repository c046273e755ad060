// The components: functions from an input, and the execution, to an output. What they throw fails the step.

import { setTimeout as pause } from "node:timers/promises";

export const components = { "/count": count, "/count_all": countAll, "/wait": wait };

/** How many words a text has. */
function count(text) {
  if (typeof text !== "string") throw new Error("expected a text");
  return text.split(/\s+/).filter(Boolean).length;
}

/** How many words all texts have, counted by a run of its own: one item for each text. */
async function countAll({ texts, flow }, { call, attempt }) {
  const { blobId } = await call("blobs/put", { data: flow, blobType: "flow" });
  // With a key, another attempt finds the run of this one.
  const { runId } = await call("runs/submit", { flowId: blobId, inputs: texts, maxConcurrency: 4, subflowKey: "texts" });
  console.error(`count_all: run ${runId} counts ${texts.length} texts (attempt ${attempt})`);
  const run = await call("runs/get", { runId, wait: true, includeResults: true });
  return run.results.map(({ result }) => outputOf(result)).reduce((sum, words) => sum + words, 0);
}

function outputOf(result) {
  if (result?.outcome !== "success") throw new Error(result?.error.message ?? "cancelled");
  return result.value;
}

/** Wait for so many seconds, unless the gateway ends the execution before. */
async function wait(seconds, { signal }) {
  console.error("wait: begun");
  try {
    await pause(1000 * seconds, undefined, { signal });
    return seconds;
  } catch (error) {
    console.error("wait: ended by the gateway");
    throw error;
  }
}
