import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "../generated/status_details_pb.js";

/** A field that breaks its rule. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** What the gateway answered, or that it cannot be reached. */
export class RunsError extends Error {
  override readonly name = "RunsError";

  constructor(
    /** The status of gRPC, as the contract spells it: `NOT_FOUND`. */
    readonly code: string,
    /** Says more than the code: `RUN_NOT_FOUND`. Without one it is the code. */
    readonly reason: string,
    message: string,
    /** The fields that break their rules. */
    readonly violations: readonly Violation[] = [],
    /** Whether it passes by itself, so that the call is to be made again. */
    readonly passes = false,
    /** After how many milliseconds, at the earliest. */
    readonly retryAfter = 0,
  ) {
    super(message);
  }
}

/** The codes that libraries report cuts by. The gateway's own errors have a reason. */
const LOST = new Set([Code.Unavailable, Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown]);

/** Those that pass by themselves. A deadline that was not the caller's is that of a proxy. */
const PASSING = new Set([Code.Unavailable, Code.DeadlineExceeded]);

export function lost(message: string): RunsError {
  return new RunsError("UNAVAILABLE", "UNAVAILABLE", message, [], true);
}

/** The error of calls whose client is closed. */
export function closed(): RunsError {
  return new RunsError("CANCELLED", "CANCELLED", "the client is closed");
}

/** The error that a call has ended with. */
export function runsError(thrown: unknown): RunsError {
  if (thrown instanceof RunsError) return thrown;
  const error = ConnectError.from(thrown, Code.Unavailable);
  const reason = detail(error, ErrorInfoSchema)?.reason;
  const torn = error.rawMessage.startsWith("protocol error");
  if (reason === undefined && (LOST.has(error.code) || torn)) return lost(error.rawMessage);
  const violations = detail(error, BadRequestSchema)?.fieldViolations ?? [];
  const retry = detail(error, RetryInfoSchema);
  const code = codeName(error.code);
  return new RunsError(
    code,
    reason ?? code,
    error.rawMessage,
    violations.map(({ field, description }) => ({ field, description })),
    retry !== undefined || PASSING.has(error.code),
    retry?.retryDelay === undefined ? 0 : durationMs(retry.retryDelay),
  );
}

/** The error that a message of a stream tells. */
export function toldError(code: number, message: string, details: Uint8Array): RunsError {
  const error = new ConnectError(message, code);
  error.details = fromBinary(StatusSchema, details).details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return runsError(error);
}

/** A detail of an error, as the message of `google.rpc` that has the same name. */
function detail<Message extends DescMessage>(error: ConnectError, schema: Message): MessageShape<Message> | undefined {
  for (const each of error.details) {
    if ("type" in each && each.type === `google.rpc.${schema.name}`) return fromBinary(schema, each.value);
  }
  return undefined;
}

/** NotFound is NOT_FOUND; gRPC has one more l in CANCELLED. */
function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
