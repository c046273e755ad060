// Numbers, times and names as people read them.

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export const STATES = ["running", "pending", "success", "failed", "cancelled"];

/** States as engines elsewhere spell them. */
export function stateOf(text) {
  return text === "completed" ? "success" : String(text);
}

export function isOver(state) {
  return state === "success" || state === "failed" || state === "cancelled";
}

export function number(value) {
  return NUMBER.format(value);
}

export function short(value) {
  return Math.abs(value) < 10_000 ? NUMBER.format(Math.round(value * 10) / 10) : SHORT.format(value);
}

export function bytes(value) {
  let unit = 0;
  let left = value;
  for (; left >= 1024 && unit < UNITS.length - 1; unit += 1) left /= 1024;
  return `${left >= 100 || unit === 0 ? Math.round(left) : left.toFixed(1)} ${UNITS[unit]}`;
}

/** A time in milliseconds since 1970; NaN if there is none. */
export function time(text) {
  return text ? Date.parse(text) : NaN;
}

export function moment(milliseconds) {
  return Number.isNaN(milliseconds) ? "–" : MOMENT.format(milliseconds);
}

export function ago(milliseconds, now = Date.now()) {
  if (Number.isNaN(milliseconds)) return "–";
  const seconds = (now - milliseconds) / 1000;
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 86400 * 60) return `${Math.floor(seconds / 86400)} d ago`;
  return new Date(milliseconds).toISOString().slice(0, 10);
}

/** How long something took, in milliseconds. */
export function duration(milliseconds) {
  if (!(milliseconds >= 0)) return "–";
  if (milliseconds < 1) return milliseconds === 0 ? "0 ms" : "< 1 ms";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/** The part of an id that tells runs apart at a glance: a UUIDv7 begins with the time. */
export function shortId(id) {
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}

export function flowText(run) {
  return run.flowName || (run.flowId ? run.flowId.replace(/^sha256:/, "").slice(0, 12) : "–");
}

export function itemsDone(items) {
  return (items?.success ?? 0) + (items?.failed ?? 0) + (items?.cancelled ?? 0);
}

/** How a bar shows items by state: a gradient with hard edges. What failed is always wide enough to be seen. */
export function barOf(items) {
  const total = items?.total ?? 0;
  if (!total) return "none";
  const parts = [["success", items.success], ["failed", items.failed], ["cancelled", items.cancelled], ["running", items.running]];
  let at = 0;
  const stops = [];
  for (const [state, count] of parts) {
    if (!count) continue;
    const end = Math.min(100, at + Math.max((100 * count) / total, state === "failed" ? 2 : 0));
    stops.push(`var(--${state}-fill) ${at.toFixed(2)}% ${end.toFixed(2)}%`);
    at = end;
  }
  if (!stops.length) return "none";
  if (at < 100) stops.push(`transparent ${at.toFixed(2)}%`);
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}
