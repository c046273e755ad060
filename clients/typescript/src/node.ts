import { readFileSync } from "node:fs";
import type { SecureContextOptions } from "node:tls";

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { bearer, checkExposure, type Connect } from "./connection.js";

/** What a connection over gRPC may be told. Each member may be left out. */
export interface NodeOptions {
  /** Connect over TLS, and trust the certificates of the system. */
  tls?: boolean;
  /** Connect over TLS, and trust the authorities of this file in PEM alone. */
  ca?: string;
  /** Connect over TLS, and show the certificate in this file in PEM, with those between it and the authority. */
  cert?: string;
  /** The file with its key, in PEM. */
  key?: string;
  token?: string;
}

/** Connects to the gRPC address of a gateway, HOST:PORT. */
export function grpc(address: string, options: NodeOptions = {}): Connect {
  const secured = [options.ca, options.cert].some((file) => file !== undefined) || options.tls === true;
  const url = new URL(`${secured ? "https" : "http"}://${address}`);
  checkExposure(url, options.token);
  const security = files(options);
  return () => {
    // Pings find out that a connection has died while a stream has nothing to tell.
    const pings = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };
    const sessionManager = new Http2SessionManager(url.origin, pings, security);
    const transport = createGrpcTransport({
      baseUrl: url.origin,
      interceptors: bearer(options.token),
      sessionManager,
    });
    return { transport, close: () => sessionManager.abort() };
  };
}

/** What TLS wants to know: the contents of the files. */
function files({ ca, cert, key }: NodeOptions): SecureContextOptions {
  if ((cert === undefined) !== (key === undefined)) throw new Error("a certificate and its key are given together");
  return {
    ...(ca === undefined ? {} : { ca: readFileSync(ca) }),
    ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
    ...(key === undefined ? {} : { key: readFileSync(key) }),
  };
}
