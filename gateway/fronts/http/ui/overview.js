// The view of the gateway itself: what it does, how fast, with which memory, and what its component servers say.

import { element, setState, setText } from "./elements.js";
import { Chart } from "./charts.js";
import * as format from "./format.js";
import { inWords, open } from "./rpc.js";
import { follow } from "./stream.js";

const seconds = (value) => format.duration(value * 1000);
const rate = (value) => format.short(value);

/** The member at a path such as "items.executing"; null if it is not told. */
function at(told, path) {
  let value = told;
  for (const name of path.split(".")) value = value?.[name];
  return typeof value === "number" ? value : null;
}

const CHARTS = [
  { title: "Calls per second", text: rate, lines: [["gRPC", "calls_per_second.grpc"], ["JSON-RPC", "calls_per_second.jsonrpc"], ["errors", "errors_per_second"]] },
  { title: "Latency of calls", text: seconds, lines: [["p50", "latency_seconds.p50"], ["p90", "latency_seconds.p90"], ["p99", "latency_seconds.p99"]] },
  { title: "Updates and runs per second", text: rate, lines: [["updates", "updates_per_second"], ["submitted", "runs_per_second.submitted"], ["ended", "runs_per_second.ended"]] },
  { title: "Turn of the event loop", text: seconds, lines: [["p50", "event_loop_turn_seconds.p50"], ["p99", "event_loop_turn_seconds.p99"]] },
];
const TILES = [
  ["Items executing", "items.executing", format.short],
  ["Items waiting", "items.waiting", format.short],
  ["Followed runs", "followed_runs", format.short],
  ["Followed sets", "followed_sets", format.short],
  ["State file", "state_file_bytes", format.bytes],
  ["Workers", "workers", format.short],
  ["Uptime", "uptime_seconds", (value) => format.duration(value * 1000)],
];

export class OverviewView {
  #abort = null;

  constructor({ onState }) {
    this.onState = onState;
    this.charts = CHARTS.map(({ title, text, lines }) => new Chart({ title, text, lines: lines.map(([name]) => ({ name })) }));
    this.tiles = TILES.map(([title]) => ({ value: element("dd", {}, "–"), title }));
    this.problem = element("p", { class: "problem", role: "alert", hidden: true });
    this.about = element("p", { class: "muted about-gateway" });
    this.memory = element("div", { class: "memory-bar" });
    this.memoryText = element("p", { class: "muted" });
    this.uses = element("ul", { class: "uses" });
    this.streams = element("tbody", {});
    this.components = element("div", { class: "components" });
    this.sight = element("article", { class: "overview" },
      element("div", { class: "title" }, element("h1", {}, "Gateway"), this.about), this.problem,
      element("dl", { class: "tiles" }, ...this.tiles.map(({ title, value }) => element("div", {}, element("dt", {}, title), value))),
      element("div", { class: "charts" }, ...this.charts.map((chart) => chart.sight)),
      element("div", { class: "pair" },
        element("section", { class: "card" }, element("h2", {}, "Memory of clients"), this.memory, this.memoryText, this.uses),
        element("section", { class: "card" }, element("h2", {}, "Open streams and followers"),
          element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "What"), element("th", { scope: "col" }, "Now"))), this.streams))),
      element("section", { class: "card" }, element("h2", {}, "Component servers"), this.components));
  }

  enter() {
    if (this.#abort) return;
    const { signal } = (this.#abort = new AbortController());
    follow({
      signal,
      request: () => open("ui/overview", { signal }),
      onMessage: (told) => this.#show(told.params ?? told),
      onState: (state, detail) => !signal.aborted && this.#follows(state, detail),
    });
  }

  leave() {
    this.#abort?.abort();
    this.#abort = null;
  }

  restart() {
    this.leave();
    this.enter();
  }

  #follows(state, detail) {
    this.problem.hidden = state !== "failed" || detail.kind === "login";
    if (state === "failed") setText(this.problem, detail.kind === "gone" ? "This gateway does not tell how it is." : inWords(detail));
    this.onState(state, detail);
  }

  #show(told) {
    this.charts.forEach((chart, index) => chart.add(CHARTS[index].lines.map(([, path]) => at(told, path))));
    this.tiles.forEach(({ value }, index) => {
      const [, path, text] = TILES[index];
      const number = at(told, path);
      setText(value, number === null ? "–" : text(number));
    });
    const runtime = told.runtime ? `runtime ${told.runtime.kind}${told.runtime.up === false ? ", which cannot be reached" : ""}` : "";
    setText(this.about, [told.version && `version ${told.version}`, runtime].filter(Boolean).join(" · "));
    this.#showMemory(told.memory ?? {});
    this.#showStreams(told);
    this.#showComponents(told.components ?? []);
  }

  #showMemory({ limit = 0, used = 0, uses = {} }) {
    const sorted = Object.entries(uses).filter(([, value]) => value > 0).sort(([, one], [, other]) => other - one);
    let start = 0;
    const stops = sorted.map(([, value], index) => {
      // Each use is wide enough to be seen.
      const end = limit ? Math.min(100, start + Math.max(0.4, (100 * value) / limit)) : start;
      const stop = `var(--use-${index % 6}) ${start.toFixed(2)}% ${end.toFixed(2)}%`;
      start = end;
      return stop;
    });
    this.memory.style.backgroundImage = stops.length ? `linear-gradient(90deg, ${stops.join(", ")}, transparent ${start.toFixed(2)}%)` : "none";
    setText(this.memoryText, limit ? `${format.bytes(used ?? 0)} of ${format.bytes(limit)} (${((100 * used) / limit).toFixed(1)} %)` : "–");
    sync(this.uses, sorted, ([name, value], index) => {
      const item = element("li", {}, element("span", { class: `swatch use-${index % 6}` }), element("span", {}, inWordsOf(name)), " ", element("b", {}, format.bytes(value)));
      return item;
    });
  }

  #showStreams(told) {
    const rows = [
      ...Object.entries(told.open_streams ?? {}).map(([name, value]) => [`streams of ${name.split("/").at(-1)}`, value]),
      ...Object.entries(told.followers ?? {}).map(([name, value]) => [`followers: ${inWordsOf(name)}`, value]),
    ].filter(([, value]) => value > 0);
    sync(this.streams, rows.length ? rows : [["none", 0]], ([name, value]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, format.number(value ?? 0))));
  }

  #showComponents(components) {
    if (!components.length) return this.components.replaceChildren(element("p", { class: "muted" }, "None are set up."));
    sync(this.components, components, componentOf);
  }
}

function inWordsOf(name) {
  return name.replaceAll("_", " ");
}

/** Makes the children of a node anew where what they show has changed. What is open stays open. */
function sync(node, entries, make) {
  entries.forEach((entry, index) => {
    const text = JSON.stringify(entry);
    const before = node.children[index];
    if (before?.shows === text) return;
    const made = make(entry, index);
    made.shows = text;
    const wasOpen = before?.querySelector("details")?.open;
    if (wasOpen !== undefined && made.querySelector("details")) made.querySelector("details").open = wasOpen;
    before ? before.replaceWith(made) : node.append(made);
  });
  while (node.children.length > entries.length) node.lastChild.remove();
}

function componentOf({ prefix, up, executions, errors, lines = [] }) {
  const state = element("span", { class: "state" });
  setState(state, up ? "success" : "failed");
  state.textContent = up ? "up" : "down";
  const told = lines.map(({ time, stream, text }) =>
    element("li", {}, element("time", {}, lineTime(time)), stream ? element("span", { class: "muted" }, ` ${stream} `) : " ", element("span", {}, text)));
  return element("div", { class: "component-server" },
    element("p", { class: "component-head" }, state, element("code", {}, prefix), element("span", { class: "grow" }),
      element("span", { class: "muted" }, `${format.short(executions ?? 0)} executions, ${format.short(errors ?? 0)} errors`)),
    told.length ? element("details", { open: true }, element("summary", {}, `Last ${told.length} lines`), element("ol", { class: "lines", tabIndex: 0, "aria-label": `Last lines of ${prefix}` }, ...told)) : null);
}

function lineTime(time) {
  const at = typeof time === "number" ? time * 1000 : Date.parse(time);
  return Number.isNaN(at) ? "" : new Date(at).toISOString().slice(11, 19);
}
