// The steps of an item on a time line.

import { badge, element } from "./elements.js";
import * as format from "./format.js";

/** Draws the steps of an item. Steps that have not ended last until now. */
export function timeline(steps) {
  const now = Date.now();
  const timed = steps.map((step) => ({ step, from: format.time(step.startedAt), to: format.time(step.completedAt) }));
  const starts = timed.map(({ from }) => from).filter((from) => !Number.isNaN(from));
  if (!starts.length) return element("p", { class: "muted" }, steps.length ? "No step has begun." : "No steps.");
  const first = Math.min(...starts);
  const ends = timed.map(({ from, to }) => (Number.isNaN(to) ? (Number.isNaN(from) ? first : now) : to));
  const span = Math.max(1, Math.max(...ends) - first);
  return element("div", { class: "timeline" },
    axis(span),
    element("ul", { "aria-label": "Steps" }, ...timed.sort(firstFirst).map((each) => lineOf(each, first, span, now))));
}

/** Those that have not begun come last. */
function firstFirst(one, other) {
  return (Number.isNaN(one.from) ? Infinity : one.from) - (Number.isNaN(other.from) ? Infinity : other.from) || 0;
}

function axis(span) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => element("span", {}, part ? format.duration(span * part) : "0"));
  return element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}), element("span", { class: "ticks" }, ...ticks));
}

function lineOf({ step, from, to }, first, span, now) {
  const state = step.status;
  const bar = element("span", { class: "span", "aria-hidden": "true" });
  bar.dataset.state = state;
  if (!Number.isNaN(from)) {
    const end = Number.isNaN(to) ? now : to;
    const left = (100 * (from - first)) / span;
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(0.4, Math.min(100 - left, (100 * (end - from)) / span))}%`;
  } else {
    bar.hidden = true;
  }
  const took = Number.isNaN(from) ? "" : format.duration((Number.isNaN(to) ? now : to) - from);
  const tries = step.attempts > 1 ? ` · ${step.attempts} attempts` : "";
  return element("li", {},
    element("span", { class: "step" }, badge(state), element("span", { class: "name", title: step.stepId }, step.stepId),
      element("span", { class: "component", title: step.component }, step.component)),
    element("span", { class: "track" }, bar),
    element("span", { class: "took" }, took + tries),
    step.error ? element("p", { class: "step-error" }, `${step.error.code}: ${step.error.message}`) : null);
}
