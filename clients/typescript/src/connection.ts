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

/** Raises an error, without the token, if that is none, or would be sent where others can read it. */
export function checkToken(url: URL, token: string | undefined): void {
  if (token === undefined) return;
  // The end of a line comes with many a token that was read from a file.
  if (!/^[!-~]+$/.test(token)) throw new Error("a token is one word of visible ASCII");
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !local) {
    throw new Error("a token is sent over TLS only, or within this machine");
  }
}
