/** What the program prints: JSON whose members have one order, with payloads as the texts that they are. */
import { RunState, type ItemError, type ItemResult, type JsonValue, type RunStatus } from "../generated/runs/v1/runs_pb.js";
import type { RunsError } from "../src/index.js";

export function text(value: unknown): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

export function member(name: string, value: string): string {
  return `${text(name)}:${value}`;
}

export function object(...members: string[]): string {
  return `{${members.join(",")}}`;
}

export function array(values: string[]): string {
  return `[${values.join(",")}]`;
}

export function stateName(state: RunState): string {
  return (RunState[state] ?? "unspecified").toLowerCase();
}

/** The members that tell how far a run is. */
export function showState({ status, items, cancelReason }: RunStatus): string {
  const told = [member("status", text(stateName(status)))];
  for (const name of ["total", "success", "failed", "cancelled"] as const) {
    told.push(member(name, text(items?.[name] ?? 0n)));
  }
  if (cancelReason !== undefined) told.push(member("cancelReason", text(cancelReason)));
  return told.join(",");
}

export function showResults(results: readonly ItemResult[]): string {
  return array(results.map(showResult));
}

/** Of many results, whether each came once, in order, and how long they are. */
export function summarize(results: readonly ItemResult[]): string {
  const inOrder = results.every(({ itemIndex }, place) => itemIndex === BigInt(place));
  const bytes = results.reduce((sum, { outcome }) => sum + (outcome.case === "value" ? size(outcome.value) : 0), 0);
  return object(member("count", text(results.length)), member("inOrder", text(inOrder)), member("bytes", text(bytes)));
}

/** The member with an error. */
export function showError({ code, reason, violations }: RunsError): string {
  return member("error", text({ code, reason, violations }));
}

function showResult({ itemIndex, status, outcome }: ItemResult): string {
  const members = [member("itemIndex", text(itemIndex)), member("status", text(stateName(status)))];
  if (outcome.case === "value") members.push(member("value", payload(outcome.value)));
  if (outcome.case === "error") members.push(member("error", showItemError(outcome.value)));
  return object(...members);
}

function showItemError({ code, message, data }: ItemError): string {
  const members = [member("code", text(code)), member("message", text(message))];
  if (data !== undefined) members.push(member("data", payload(data)));
  return object(...members);
}

function payload({ encoding }: JsonValue): string {
  return encoding.case === "json" ? encoding.value : "null";
}

function size(value: JsonValue): number {
  return Buffer.byteLength(payload(value));
}
