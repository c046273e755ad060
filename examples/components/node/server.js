// The component protocol: JSON-RPC messages by HTTP, and answers with events where a component calls back.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

const NO_METHOD = -32601;
const NO_COMPONENT = -32001;
const FAILED = -32100;

/** Names this process, so that the gateway sends the answers to its calls to it, and to no other at the same address. */
const INSTANCE = randomUUID();

/** What waits for the answers to calls of components, by their ids. */
const pending = new Map();

/** An error with the code that the gateway is told. */
class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Serve components until SIGTERM, at a port of 127.0.0.1, or at a free one, which the first line of the output tells. */
export function serve(components, port = 0) {
  const server = createServer((request, response) => {
    handle(components, request, response).catch((error) => response.destroy(error));
  });
  server.listen(port, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
  process.on("SIGTERM", () => {
    server.close();
    server.closeIdleConnections();
  });
}

async function handle(components, request, response) {
  if (request.method === "GET") return reply(response, 200, { status: "ok" });
  const message = JSON.parse(await bodyOf(request));
  if (message.method === undefined) {
    pending.get(message.id)?.(message);
    return reply(response, 202);
  }
  if (message.id === undefined) return reply(response, 202);
  if (message.method === "components/execute") return execute(components, message, response);
  return reply(response, 200, await answerTo(message, () => describe(components, message)));
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function reply(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body === undefined ? "" : JSON.stringify(body));
}

/** The response to a request: the result of some work, or its error. */
async function answerTo({ id }, work) {
  try {
    return { jsonrpc: "2.0", id, result: await work() };
  } catch (error) {
    return { jsonrpc: "2.0", id, error: { code: error.code ?? FAILED, message: error.message } };
  }
}

/** Answer the requests by which the gateway learns what there is. */
function describe(components, { method, params }) {
  switch (method) {
    case "initialize":
      return { serverProtocolVersion: 1 };
    case "components/list":
      return { components: Object.keys(components).map((component) => ({ component })) };
    case "components/info":
      find(components, params.component);
      return { info: { component: params.component } };
  }
  throw new Failure(NO_METHOD, `no method ${method}`);
}

function find(components, path) {
  if (!Object.hasOwn(components, path)) throw new Failure(NO_COMPONENT, `no component ${path}`);
  return components[path];
}

/** Execute a component. Its calls are events of the answer, and the output is the last event. */
async function execute(components, message, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "stepflow-instance-id": INSTANCE });
  response.flushHeaders();
  const send = (event) => response.write(`data: ${JSON.stringify(event)}\n\n`);
  const ending = new AbortController();
  // The gateway ends an execution by closing the connection.
  response.on("close", () => ending.abort());
  const { component, input, attempt } = message.params;
  const execution = { attempt, signal: ending.signal, call: caller(send, ending.signal) };
  send(await answerTo(message, async () => ({ output: await find(components, component)(input, execution) })));
  response.end();
}

/** A function that calls a method of the gateway and gives its result. */
function caller(send, signal) {
  return async (method, params) => {
    signal.throwIfAborted();
    const id = randomUUID();
    try {
      const { result, error } = await new Promise((resolve, reject) => {
        pending.set(id, resolve);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        send({ jsonrpc: "2.0", id, method, params });
      });
      if (error) throw new Failure(FAILED, error.message);
      return result;
    } finally {
      pending.delete(id);
    }
  };
}
