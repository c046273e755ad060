import { readFileSync } from "node:fs";

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { bearer, checkExposure, type Connect } from "./connection.js";

/** What a connection over gRPC may be told. Each member may be left out. */
export interface NodeOptions {
  /** Connect over TLS, and trust the certificates of the system. */
  tls?: boolean;
  /** Connect over TLS, and trust the authorities of this file in PEM alone. */
  ca?: string;
  token?: string;
}

/** Connects to the gRPC address of a gateway, HOST:PORT. */
export function grpc(address: string, options: NodeOptions = {}): Connect {
  const secured = options.tls === true || options.ca !== undefined;
  const url = new URL(`${secured ? "https" : "http"}://${address}`);
  checkExposure(url, options.token);
  const ca = options.ca === undefined ? {} : { ca: readFileSync(options.ca) };
  return () => {
    // Pings find out that a connection has died while a stream has nothing to tell.
    const pings = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };
    const sessionManager = new Http2SessionManager(url.origin, pings, ca);
    const transport = createGrpcTransport({
      baseUrl: url.origin,
      interceptors: bearer(options.token),
      sessionManager,
    });
    return { transport, close: () => sessionManager.abort() };
  };
}
