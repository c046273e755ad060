// What a page of another site does with a gateway: it follows runs, and goes on after cuts.
import { first } from "./web_leaving.mjs";
import { clients } from "./web_protocols.mjs";

// The contract and the addresses are where the page is served.
const image = new Uint8Array(await (await fetch("/image.binpb")).arrayBuffer());

// How many results have come so far, and how many updates.
globalThis.seen = globalThis.updates = 0;

// Follows a run to its end. Each failure is noted, and the call made again with the last token.
globalThis.follow = async (protocol, url, token, runId) => {
  const [runs] = clients(protocol, url, image, token);
  const texts = [], failures = [];
  let resumeToken = new Uint8Array(), repeated = 0, state = 0;
  globalThis.seen = globalThis.updates = 0;
  while (failures.length < 20) {
    try {
      for await (const update of runs.getRun({ runId, wait: true, includeResults: true, resumeToken })) {
        globalThis.updates += 1;
        for (const result of update.run.results) {
          repeated += texts[result.itemIndex] !== undefined;
          texts[result.itemIndex] = result.outcome.value.encoding.value;
          globalThis.seen += 1;
        }
        if (update.resumeToken.length) resumeToken = update.resumeToken;
        state = update.run.status;
      }
      break;
    } catch (error) {
      failures.push(String(error));
    }
  }
  return { texts, failures, repeated, state };
};

// Leaves a run at its first update.
globalThis.leave = (protocol, url, token, runId) => first(clients(protocol, url, image, token)[0], runId);

// A call as it is, with the headers that are given: its status, or the name of the error.
globalThis.call = async (url, options) => {
  try {
    return (await fetch(url, { method: "POST", body: "{}", ...options })).status;
  } catch (error) {
    return error.name;
  }
};
globalThis.ready = true;
