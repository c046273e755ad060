// The view of all runs: filters, counts by state, and the table.

import { element, setAttribute, setState, setText } from "./elements.js";
import { afterPause, atMostEvery, oncePerFrame } from "./frames.js";
import * as format from "./format.js";
import { filterOf, SPANS } from "./filter.js";
import { call, inWords, post } from "./rpc.js";
import { RunStore, Selection } from "./store.js";
import { follow } from "./stream.js";
import { VirtualTable } from "./table.js";

const COLUMNS = [
  { name: "status", title: "State" },
  { name: "flow", title: "Flow" },
  { name: "labels", title: "Labels" },
  { name: "progress", title: "Progress" },
  { name: "created", title: "Created" },
  { name: "took", title: "Duration" },
  { name: "id", title: "Run" },
];
const NARROW = matchMedia("(max-width: 760px)");
const FIELDS = ["q", "state", "flow", "label", "since", "roots", "order"];

export class RunsView {
  #abort = null;
  #asked = null;
  #rateAt = performance.now();
  #changes = 0;

  /** `goTo(hash, {replace})` changes the address; `onState` is told how the stream is. */
  constructor({ goTo, onState }) {
    this.goTo = goTo;
    this.onState = onState;
    this.store = new RunStore();
    this.selection = new Selection(this.store);
    this.options = {};
    this.sight = this.#makeSight();
    this.draw = oncePerFrame(() => this.#draw());
    this.select = atMostEvery(200, () => this.draw());
    NARROW.addEventListener("change", () => this.#fit());
    this.#fit();
    setInterval(() => this.#tick(), 1000);
  }

  #makeSight() {
    this.order = element("button", { type: "button", class: "sort", onclick: () => this.#set("order", this.options.order ? "" : "oldest") }, "Created");
    this.table = new VirtualTable({
      label: "Runs",
      columns: COLUMNS.map((column) => (column.name === "created" ? { ...column, head: this.order } : column)),
      makeCells, draw: drawRow, keyOf: (entry) => entry.id, rowHeight: 38,
      onOpen: (entry) => this.goTo(`#/runs/${entry.id}`),
    });
    this.empty = element("p", { class: "empty", hidden: true });
    this.problem = element("p", { class: "problem", role: "alert", hidden: true });
    this.byId = this.#makeById();
    this.sum = element("span", { class: "sum" });
    this.rate = element("span", { class: "rate" });
    return element("section", { class: "runs", "aria-label": "Runs" },
      element("h1", { class: "unseen" }, "Runs"),
      this.#makeFilters(), this.problem, this.byId,
      element("div", { class: "sheet" }, this.table.grid, this.empty),
      element("footer", { class: "foot" }, this.sum, element("span", { class: "grow" }), this.rate));
  }

  #makeFilters() {
    const later = afterPause(300, () => this.#fromInputs());
    const text = (name, label, placeholder, type = "text") =>
      (this[name] = element("input", { type, name, placeholder, autocomplete: "off", spellcheck: false, "aria-label": label, oninput: later }));
    this.since = element("select", { name: "since", "aria-label": "Created", onchange: () => this.#fromInputs() },
      ...SPANS.map(({ name, title }) => element("option", { value: name }, title)));
    this.roots = element("input", { type: "checkbox", name: "roots", onchange: () => this.#fromInputs() });
    this.chips = Object.fromEntries(format.STATES.map((state) => [state, this.#chip(state)]));
    return element("form", { class: "filters", role: "search", "aria-label": "Find runs", onsubmit: (event) => event.preventDefault() },
      text("q", "Search the runs below", "Search  ( / )", "search"),
      text("flow", "Flow: how its name begins, or its id", "Flow"),
      text("label", "Label: name=value, or how the label of the run begins", "Label or name=value"),
      this.since,
      element("label", { class: "check" }, this.roots, "Outermost only"),
      element("div", { class: "chips", role: "group", "aria-label": "States" }, ...Object.values(this.chips).map((chip) => chip.button)));
  }

  /** Leads to a run where sets of runs cannot be followed. */
  #makeById() {
    const input = element("input", { name: "run", "aria-label": "Id of a run", placeholder: "Id of a run", autocomplete: "off", spellcheck: false, required: true });
    const open = (event) => {
      event.preventDefault();
      const id = input.value.trim();
      if (id) this.goTo(`#/runs/${encodeURIComponent(id)}`);
    };
    return element("form", { class: "by-id", hidden: true, onsubmit: open }, input, element("button", { type: "submit" }, "Open the run"));
  }

  #chip(state) {
    const count = element("span", { class: "count" }, "0");
    const mark = element("span", { class: "state" });
    setState(mark, state);
    const button = element("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: () => this.#toggle(state) }, mark, count);
    return { button, count };
  }

  focusSearch() {
    this.q.focus();
    this.q.select();
  }

  #toggle(state) {
    const states = new Set((this.options.state ?? "").split(",").filter(Boolean));
    if (!states.delete(state)) states.add(state);
    this.#set("state", [...states].join(","));
  }

  #fromInputs() {
    this.#write({});
  }

  #set(name, value) {
    this.#write({ [name]: value });
  }

  #write(changes) {
    // What was typed in the last moment counts as well, whatever else is changed.
    const typed = { q: this.q.value, flow: this.flow.value.trim(), label: this.label.value.trim() };
    const options = { ...this.options, ...typed, since: this.since.value, roots: this.roots.checked ? "1" : "", ...changes };
    const query = new URLSearchParams(FIELDS.filter((name) => options[name]).map((name) => [name, options[name]]));
    this.goTo(`#/runs${query.size ? `?${query}` : ""}`, { replace: true });
  }

  /** Shows what the address asks for. */
  enter(query) {
    this.options = Object.fromEntries(FIELDS.map((name) => [name, query.get(name) ?? ""]));
    const { options } = this;
    for (const name of ["q", "flow", "label"]) if (document.activeElement !== this[name]) this[name].value = options[name];
    this.since.value = options.since;
    this.roots.checked = options.roots === "1";
    const states = options.state.split(",").filter(Boolean);
    this.selection.states = new Set(states);
    for (const [state, chip] of Object.entries(this.chips)) setAttribute(chip.button, "aria-pressed", states.includes(state));
    this.selection.oldestFirst = options.order === "oldest";
    this.table.head.querySelector(".created").setAttribute("aria-sort", options.order === "oldest" ? "ascending" : "descending");
    this.selection.search(options.q);
    const { flow, label, since, roots } = options;
    const asked = JSON.stringify({ flow, label, since, roots });
    if (asked !== this.#asked) this.#follow(asked);
    this.draw();
  }

  /** Follows the set anew, as after a login. */
  restart() {
    if (this.#asked !== null) this.#follow(this.#asked);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
    this.#asked = null;
    this.store.clear();
  }

  #follow(asked) {
    this.#asked = asked;
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    const { signal } = abort;
    this.store.clear();
    this.problem.hidden = true;
    const filter = filterOf(JSON.parse(asked));
    this.filters = Object.keys(filter).length > 0;
    follow({
      signal,
      request: (token) => this.#watch(filter, token, signal),
      onMessage: ({ params: told }) => {
        this.store.apply(told);
        this.selection.narrows ? this.select() : this.draw();
      },
      onState: (state, detail) => !signal.aborted && this.#state(state, detail),
    });
  }

  async #watch(filter, lastEventId, signal) {
    try {
      return await post("runs/watch", { heartbeatSecs: 20, filter }, { signal, accept: "text/event-stream", lastEventId });
    } catch (error) {
      if (error.kind === "unsupported") await this.#goToOnly(signal);
      throw error;
    }
  }

  /** Goes to the run that is alone to be seen: a token for one run follows no sets. */
  async #goToOnly(signal) {
    const { runs, nextPageToken } = await call("runs/list", { pageSize: 2 }, { signal });
    if (signal.aborted || runs.length !== 1 || nextPageToken) return;
    this.stop();
    this.goTo(`#/runs/${runs[0].runId}`, { replace: true });
  }

  #state(state, detail) {
    this.problem.hidden = state !== "failed" || detail.kind === "login";
    if (state === "failed") setText(this.problem, inWords(detail));
    this.byId.hidden = detail?.kind !== "unsupported";
    this.onState(state, detail);
    this.draw();
  }

  #draw() {
    if (!this.sight.isConnected) return;
    this.store.arrange();
    if (this.selection.update()) this.table.show(this.selection.entries);
    else this.table.render();
    for (const [state, chip] of Object.entries(this.chips)) setText(chip.count, format.short(this.store.counts[state] ?? 0));
    this.#drawSum();
  }

  #drawSum() {
    const { store, selection } = this;
    const shown = selection.entries.length;
    const all = format.number(store.size);
    let text = selection.narrows ? `${format.number(shown)} of ${all} runs` : `${all} runs`;
    if (!store.caughtUp && store.size) text += ", more are coming";
    if (store.left) text += "; older ones are left out: narrow the time";
    setText(this.sum, text);
    this.empty.hidden = shown > 0 || !this.problem.hidden;
    if (!shown) setText(this.empty, store.size || (store.caughtUp && this.filters) ? "No run matches." : store.caughtUp ? "There are no runs." : "Runs are coming …");
  }

  #tick() {
    const now = performance.now();
    const rate = (1000 * (this.store.changes - this.#changes)) / (now - this.#rateAt);
    this.#changes = this.store.changes;
    this.#rateAt = now;
    setText(this.rate, rate >= 0.5 ? `${format.short(rate)} changes/s` : "");
    this.draw();
  }

  #fit() {
    this.table.rowHeight = NARROW.matches ? 66 : 38;
    this.draw?.();
  }
}

function makeCells(row) {
  row.cells = Object.fromEntries(COLUMNS.map(({ name }, index) =>
    [name, element("div", { class: `cell ${name}`, role: "gridcell", "aria-colindex": index + 1 })]));
  const { cells } = row;
  row.state = element("span", { class: "state" });
  row.name = element("span", { class: "name" });
  row.label = element("span", { class: "label" });
  row.bar = element("span", { class: "bar", "aria-hidden": "true" });
  row.count = element("span", { class: "count" });
  row.link = element("a", { tabIndex: -1 });
  cells.status.append(row.state);
  cells.flow.append(row.name, row.label);
  cells.progress.append(row.bar, row.count);
  cells.id.append(row.link);
  return Object.values(cells);
}

/** Shows a run in a row. What has not changed since it was last drawn is left alone. */
function drawRow(row, entry) {
  const { run } = entry;
  const now = Date.now();
  if (row.drawn !== run) {
    row.drawn = run;
    setState(row.state, entry.state);
    setText(row.name, format.flowText(run));
    setText(row.label, run.flowLabel ?? "");
    row.label.hidden = !run.flowLabel;
    const labels = run.labels ? Object.entries(run.labels).map(([name, value]) => `${name}=${value}`).join("  ") : "";
    setText(row.cells.labels, labels);
    row.cells.labels.title = labels;
    row.bar.style.backgroundImage = format.barOf(run.items);
    setText(row.count, `${format.number(format.itemsDone(run.items))} / ${format.number(run.items?.total ?? 0)}`);
    setText(row.link, format.shortId(entry.id));
    row.link.href = `#/runs/${entry.id}`;
    row.link.title = entry.id;
    row.cells.created.title = format.moment(entry.created);
  }
  setText(row.cells.created, format.ago(entry.created, now));
  const end = format.time(run.completedAt);
  const from = Number.isNaN(format.time(run.startedAt)) ? entry.created : format.time(run.startedAt);
  setText(row.cells.took, format.duration((Number.isNaN(end) ? now : end) - from));
}
