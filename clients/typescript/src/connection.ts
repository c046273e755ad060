import type { Interceptor, Transport } from "@connectrpc/connect";

/** A way to the gateway, which can be given up. */
export interface Connection {
  readonly transport: Transport;
  close(): void;
}

/** Makes a connection: the first one, and another one each time that one has fallen silent. */
export type Connect = () => Connection;

/** Shows a token with each call. */
export function bearer(token: string | undefined): Interceptor[] {
  if (token === undefined) return [];
  return [
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${token}`);
      return next(request);
    },
  ];
}

/** Raises an error if a token would be sent where others can read it. */
export function checkExposure(url: URL, token: string | undefined): void {
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (token !== undefined && url.protocol !== "https:" && !local) {
    throw new Error("a token is sent over TLS only, or within this machine");
  }
}
