import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { bearer, checkToken, type Connect } from "./connection.js";

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
  // Later, what is none would seem to be a gateway that is away.
  if (!/^[^/@\s]*[^/@\s:]$/.test(address)) throw new Error(`${JSON.stringify(address)} is no address: it is HOST:PORT`);
  const url = new URL(`${secured ? "https" : "http"}://${address}`);
  checkToken(url, options.token);
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

/** What TLS wants to know: the contents of the files. Raises an error if one cannot be read, or is of no use. */
function files({ ca, cert, key }: NodeOptions): SecureContextOptions {
  if ((cert === undefined) !== (key === undefined)) throw new Error("a certificate and its key are given together");
  const contents = {
    ...(ca === undefined ? {} : { ca: authorities(ca) }),
    ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
    ...(key === undefined ? {} : { key: readFileSync(key) }),
  };
  // Here and now, and not for each connection, where it would be taken for a lost one.
  if (cert !== undefined) createSecureContext(contents);
  return contents;
}

/** The content of a file with certificates. Node itself would pass over what is none. */
function authorities(file: string): Buffer {
  const pem = readFileSync(file);
  try {
    if (pem.includes("-----BEGIN") && new X509Certificate(pem).raw.length > 0) return pem;
  } catch {
    // The error does not name the file.
  }
  throw new Error(`${file} has no certificate in PEM`);
}
