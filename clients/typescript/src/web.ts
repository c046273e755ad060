import { create, toBinary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

import { bearer, checkToken, type Connect } from "./connection.js";

/** What a connection of a page may be told. Each member may be left out. */
export interface WebOptions {
  token?: string;
  /** Speak Connect in place of gRPC-Web. */
  connect?: boolean;
}

/** Connects to the HTTP address of a gateway, as `https://HOST:PORT`, by `fetch`. */
export function web(baseUrl: string, options: WebOptions = {}): Connect {
  const url = new URL(baseUrl);
  if (!/^https?:$/.test(url.protocol)) throw new Error(`${baseUrl} is no address: it begins with http:// or https://`);
  checkToken(url, options.token);
  const made = options.connect === true ? createConnectTransport : createGrpcWebTransport;
  const given = { baseUrl, interceptors: bearer(options.token), useBinaryFormat: true };
  const transport = sendingAll((by) => made({ ...given, fetch: by }));
  // The browser keeps the connections; a stream that is given up has had one of its own, or part of one that pings.
  return () => ({ transport, close: () => undefined });
}

/**
 * Lets calls have many requests. `fetch` takes no stream, and so the transports of `connect-web` take a single request:
 * here all of them go as one body, before the first answer.
 */
function sendingAll(transport: (by: typeof fetch) => Transport): Transport {
  const plain = transport(fetch);
  return {
    unary: (...call) => plain.unary(...call),
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const frames: BlobPart[] = [];
      for await (const message of input) frames.push(...framed(toBinary(method.input, create(method.input, message))));
      const body = new Blob(frames);
      const single = { ...method, methodKind: "server_streaming" } as const;
      const first = createAsyncIterable([create(method.input)]);
      return transport((url, init) => fetch(url, { ...init, body })).stream(
        single, signal, timeoutMs, header, first, contextValues,
      );
    },
  };
}

/** A message in its envelope: no flags, and its length before it. */
function framed(message: Uint8Array<ArrayBuffer>): BlobPart[] {
  const head = new DataView(new ArrayBuffer(5));
  head.setUint32(1, message.length);
  return [head, message];
}
