import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

import { bearer, checkExposure, type Connect } from "./connection.js";

/** What a connection of a page may be told. Each member may be left out. */
export interface WebOptions {
  token?: string;
  /** Speak Connect in place of gRPC-Web. */
  connect?: boolean;
}

/** Connects to the HTTP address of a gateway, as `https://HOST:PORT`, by `fetch`. */
export function web(baseUrl: string, options: WebOptions = {}): Connect {
  checkExposure(new URL(baseUrl), options.token);
  const given = { baseUrl, interceptors: bearer(options.token), useBinaryFormat: true };
  const transport = options.connect === true ? createConnectTransport(given) : createGrpcWebTransport(given);
  // The browser keeps the connections; a stream that is given up has had one of its own, or part of one that pings.
  return () => ({ transport, close: () => undefined });
}
