// Plays one scenario over one protocol, and prints what came of it as JSON.
// usage: node web_client.mjs PROTOCOL URL IMAGE [TOKEN], where IMAGE is the contract as `buf build` writes it.
import { ConnectError } from "@connectrpc/connect";
import { nodeClients } from "./web_node.mjs";

const [protocol, url, image, token] = process.argv.slice(2);
const MANY = 20_000;
const [runs, blobs] = nodeClients(protocol, url, image, token);
const takesStreams = protocol.startsWith("connect-node"); // Pages send no streams.

async function last(steps) {
  let found = null;
  for await (const step of steps) found = step;
  return found;
}

async function results(runId) {
  const texts = [];
  for await (const update of runs.getRun({ runId, wait: true, includeResults: true })) {
    for (const result of update.run.results) texts[result.itemIndex] = result.outcome.value.encoding.value;
  }
  return texts;
}

async function failure(call) {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError) {
      const kinds = error.details.map((detail) => detail.type);
      return { code: error.code, message: error.rawMessage, details: kinds };
    }
    return { code: error.code, message: error.message, details: Object.keys(error.metadata ?? {}) };
  }
  return null;
}

async function* inputs(flowId) {
  yield { parameters: { flowId, wait: true } };
  for (let index = 0; index < MANY; index++) yield { inputs: [json(String(index))] };
}

async function* removals() {
  for (let index = 0; index < MANY; index++) {
    const id = `00000000-0000-7000-8000-${String(index).padStart(12, "0")}`;
    yield { action: { case: "remove", value: id } };
  }
}

const json = (text) => ({ encoding: { case: "json", value: text } });
const flow = '{"name":"echo","steps":[],"output":{"$input":"$"}}';
const put = await blobs.putBlob({ content: { case: "json", value: flow }, type: 1 });
const got = await blobs.getBlob({ blobId: put.blobId });
const exact = ["1152921504606846977", "1e400", "0.10", '{"b":1,"a":null}', '"\\u0000é𝄞"'];
const submitted = await runs.submitRun({ flowId: put.blobId, inputs: exact.map(json), wait: true });
const runId = submitted.run.runId;
const texts = await results(runId);
const many = await runs.submitRun({ flowId: put.blobId, inputs: Array(MANY).fill(json("7")) });
const told = await results(many.run.runId);
const streamed = takesStreams ? await runs.submitRunStream(inputs(put.blobId)) : null;
let ended = 0;
if (takesStreams) for await (const message of runs.watchRuns(removals())) ended += message.event.case === "ended";
const unwatched = takesStreams || protocol.startsWith("grpc-web-package") ? null : await failure(last(runs.watchRuns(removals())));
const listed = await runs.listRuns({ pageSize: 1 });
const items = await runs.listItems({ runId, pageSize: 2 });
const created = await failure(runs.createToken({ permissions: ["runs:read"] }));
const cancelled = await failure(runs.cancelRun({ runId }));
const refused = await failure(runs.submitRun({ flowId: "x", inputs: [json("1")] }));
const missing = await failure(last(runs.getRun({ runId: "00000000-0000-7000-8000-000000000000" })));
const kept = await last(runs.cancelRuns({ filter: {} }));
await runs.deleteRun({ runId });
const gone = await failure(runs.deleteRun({ runId }));
const deleted = await last(runs.deleteRuns({ filter: {}, cancel: true }));
process.stdout.write(JSON.stringify({
  texts,
  blob: got.content.value,
  many: told.filter((text) => text === "7").length,
  streamed: takesStreams ? Number(streamed.run.items.success) : MANY,
  ended: takesStreams ? ended : MANY,
  listed: listed.runs.length,
  items: items.items.length,
  cancelled, refused, missing, gone, created, unwatched,
  kept: [kept.matched, kept.cancelled, kept.unchanged].map(Number),
  deleted: [deleted.matched, deleted.deleted, deleted.unchanged].map(Number),
}));
