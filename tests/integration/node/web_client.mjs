// Plays one scenario over one protocol of the HTTP address, and prints what came of it as JSON.
// usage: node web_client.mjs PROTOCOL URL IMAGE, where IMAGE is the contract as `buf build` writes it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createFileRegistry, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient, ConnectError } from "@connectrpc/connect";
import * as web from "@connectrpc/connect-web";
import * as node from "@connectrpc/connect-node";

const [protocol, url, image] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
const RunsService = registry.getService("runs.v1.RunsService");
const BlobsService = registry.getService("runs.v1.BlobsService");
const MANY = 20_000;

// grpc-web is made for generated code: this does what such code does.
function grpcWebClients(format) {
  const require = createRequire(import.meta.url);
  globalThis.XMLHttpRequest = require("xhr2");
  const grpcWeb = require("grpc-web");
  const base = new grpcWeb.GrpcWebClientBase({ format });
  const client = (service) => Object.fromEntries(service.methods.map((method) => {
    const kind = method.methodKind === "server_streaming" ? "server_streaming" : "unary";
    const described = new grpcWeb.MethodDescriptor(`/${service.typeName}/${method.name}`, kind, Object, Object,
      (message) => toBinary(method.input, create(method.input, message)),
      (bytes) => fromBinary(method.output, bytes));
    const path = `${url}/${service.typeName}/${method.name}`;
    if (kind === "unary") return [method.localName, (request) => new Promise((resolve, reject) =>
      base.rpcCall(path, request, {}, described, (error, answer) => error ? reject(error) : resolve(answer)))];
    return [method.localName, (request) => stream(base.serverStreaming(path, request, {}, described))];
  }));
  return [client(RunsService), client(BlobsService)];
}

async function* stream(call) {
  const arrived = [];
  let wake = () => {}, ended = false, failed = null;
  call.on("data", (message) => { arrived.push(message); wake(); });
  call.on("error", (error) => { failed = error; wake(); });
  call.on("end", () => { ended = true; wake(); });
  while (true) {
    while (arrived.length) yield arrived.shift();
    if (failed) throw failed;
    if (ended) return;
    await new Promise((resolve) => { wake = resolve; });
  }
}

function clients() {
  if (protocol.startsWith("grpc-web-package")) return grpcWebClients(protocol.endsWith("text") ? "text" : "binary");
  const transports = {
    "connect-web": () => web.createConnectTransport({ baseUrl: url }),
    "connect-web-binary": () => web.createConnectTransport({ baseUrl: url, useBinaryFormat: true, useHttpGet: true }),
    "connect-web-get": () => web.createConnectTransport({ baseUrl: url, useHttpGet: true }),
    "connect-web-grpc-web": () => web.createGrpcWebTransport({ baseUrl: url }),
    "connect-web-grpc-web-json": () => web.createGrpcWebTransport({ baseUrl: url, useBinaryFormat: false }),
    "connect-node": () => node.createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
    "connect-node-get": () => node.createConnectTransport({ baseUrl: url, httpVersion: "1.1", useHttpGet: true }),
    "connect-node-grpc-web": () => node.createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
  };
  const transport = transports[protocol]();
  return [createClient(RunsService, transport), createClient(BlobsService, transport)];
}

async function results(runs, runId) {
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

const [runs, blobs] = clients();
const json = (text) => ({ encoding: { case: "json", value: text } });
const flow = '{"name":"echo","steps":[],"output":{"$input":"$"}}';
const put = await blobs.putBlob({ content: { case: "json", value: flow }, type: 1 });
const got = await blobs.getBlob({ blobId: put.blobId });
const inputs = ["1152921504606846977", "1e400", "0.10", '{"b":1,"a":null}', '"\\u0000é𝄞"'];
const submitted = await runs.submitRun({ flowId: put.blobId, inputs: inputs.map(json), wait: true });
const texts = await results(runs, submitted.run.runId);
const many = await runs.submitRun({ flowId: put.blobId, inputs: Array(MANY).fill(json("7")) });
const told = await results(runs, many.run.runId);
const listed = await runs.listRuns({ pageSize: 1 });
const items = await runs.listItems({ runId: submitted.run.runId, pageSize: 2 });
const cancelled = await failure(runs.cancelRun({ runId: submitted.run.runId }));
const refused = await failure(runs.submitRun({ flowId: "x", inputs: [json("1")] }));
const missing = await failure((async () => {
  for await (const _ of runs.getRun({ runId: "00000000-0000-7000-8000-000000000000" }));
})());
const deleted = [];
for await (const step of runs.deleteRuns({ filter: {}, cancel: true })) deleted.push(String(step.matched ?? ""));
process.stdout.write(JSON.stringify({
  texts,
  blob: got.content.value,
  many: told.filter((text) => text === "7").length,
  listed: listed.runs.length,
  items: items.items.length,
  cancelled, refused, missing,
  deletes: deleted.length > 0,
}));
