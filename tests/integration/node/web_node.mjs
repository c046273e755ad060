// Clients of the contract in Node: those of pages, and those of `@connectrpc/connect-node`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as node from "@connectrpc/connect-node";
import { clients } from "./web_protocols.mjs";

globalThis.XMLHttpRequest = createRequire(import.meta.url)("xhr2");

const TRANSPORTS = {
  "connect-node": (options) => node.createConnectTransport({ ...options, httpVersion: "1.1" }),
  "connect-node-get": (options) => node.createConnectTransport({ ...options, httpVersion: "1.1", useHttpGet: true }),
  "connect-node-grpc-web": (options) => node.createGrpcWebTransport({ ...options, httpVersion: "1.1" }),
  "connect-node-grpc": (options) => node.createGrpcTransport(options),
};

// `file` has the contract as `buf build` writes it.
export const nodeClients = (protocol, url, file, token) => clients(protocol, url, readFileSync(file), token, TRANSPORTS);
