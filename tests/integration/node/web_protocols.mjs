// Clients of the contract over each protocol of the HTTP address, by the packages of others; in Node and in pages.
import { createFileRegistry, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import * as web from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";

const TRANSPORTS = {
  "connect-web": (options) => web.createConnectTransport(options),
  "connect-web-binary": (options) => web.createConnectTransport({ ...options, useBinaryFormat: true, useHttpGet: true }),
  "connect-web-get": (options) => web.createConnectTransport({ ...options, useHttpGet: true }),
  "connect-web-grpc-web": (options) => web.createGrpcWebTransport(options),
  "connect-web-grpc-web-json": (options) => web.createGrpcWebTransport({ ...options, useBinaryFormat: false }),
};

// `image` is the contract as `buf build` writes it; `transports` are more of them; without a token none is sent.
export function clients(protocol, url, image, token = "", transports = {}) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  const services = ["Runs", "Blobs"].map((name) => registry.getService(`runs.v1.${name}Service`));
  if (protocol.startsWith("grpc-web-package")) {
    const base = new grpcWeb.GrpcWebClientBase({ format: protocol.endsWith("text") ? "text" : "binary" });
    const metadata = token ? { authorization: `Bearer ${token}` } : {};
    return services.map((service) => generated(service, base, url, metadata));
  }
  const identify = (next) => (request) => {
    if (token) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = { ...TRANSPORTS, ...transports }[protocol]({ baseUrl: url, interceptors: [identify] });
  return services.map((service) => createClient(service, transport));
}

// grpc-web is made for generated code: this does what such code does.
function generated(service, base, url, metadata) {
  return Object.fromEntries(service.methods.map((method) => {
    const isUnary = method.methodKind !== "server_streaming";
    const described = new grpcWeb.MethodDescriptor(
      `/${service.typeName}/${method.name}`, isUnary ? "unary" : "server_streaming", Object, Object,
      (message) => toBinary(method.input, create(method.input, message)),
      (bytes) => fromBinary(method.output, bytes));
    const path = `${url}/${service.typeName}/${method.name}`;
    if (isUnary) return [method.localName, (request) => new Promise((resolve, reject) =>
      base.rpcCall(path, request, metadata, described, (error, answer) => error ? reject(error) : resolve(answer)))];
    return [method.localName, (request) => stream(base.serverStreaming(path, request, metadata, described))];
  }));
}

async function* stream(call) {
  const arrived = [];
  let wake = () => {}, ended = false, failed = null;
  call.on("data", (message) => { arrived.push(message); wake(); });
  call.on("error", (error) => { failed = error; wake(); });
  call.on("end", () => { ended = true; wake(); });
  try {
    while (true) {
      while (arrived.length) yield arrived.shift();
      if (failed) throw failed;
      if (ended) return;
      await new Promise((resolve) => { wake = resolve; });
    }
  } finally {
    if (!ended && !failed) call.cancel();
  }
}
