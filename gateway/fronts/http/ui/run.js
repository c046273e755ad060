// The view of one run: what it is, its items, one of them in full, and the runs inside it.

import { copyButton, element, setAttribute, setState, setText } from "./elements.js";
import { ask } from "./dialog.js";
import { atMostEvery, oncePerFrame } from "./frames.js";
import * as format from "./format.js";
import { ItemDetail } from "./item.js";
import { CELL_STATES, ItemMap } from "./items.js";
import { call, CallError, inWords, post } from "./rpc.js";
import { follow, passed } from "./stream.js";
import { RunTree } from "./tree.js";

const RUNNING_PAGES = 5;
const SECONDS_BETWEEN_LOOKS = 10;

export class RunView {
  #abort = null;
  #ended = 0;
  #asking = false;

  constructor({ goTo, onState }) {
    this.goTo = goTo;
    this.onState = onState;
    this.map = new ItemMap((index) => this.#choose(index, true));
    this.tree = new RunTree(goTo);
    this.detail = new ItemDetail();
    this.draw = oncePerFrame(() => this.#draw());
    this.lookForRunning = atMostEvery(1000, () => this.#findRunning());
    this.refresh = atMostEvery(1000, () => this.detail.refresh());
    this.sight = this.#makeSight();
    setInterval(() => this.#abort && this.draw(), 1000);
  }

  #makeSight() {
    this.title = element("h1", { tabIndex: -1 });
    this.state = element("span", { class: "state large" });
    this.cancel = element("button", { type: "button", onclick: () => this.#askCancel() }, "Cancel run");
    this.remove = element("button", { type: "button", class: "danger", onclick: () => this.#askDelete() }, "Delete");
    this.problem = element("p", { class: "problem", role: "alert", hidden: true });
    this.actions = element("div", { class: "actions" }, this.cancel, this.remove);
    this.facts = element("dl", { class: "facts" });
    this.bar = element("div", { class: "bar wide", role: "progressbar", "aria-label": "Items that have ended", "aria-valuemin": 0 });
    this.counts = element("p", { class: "counts" });
    this.nextFailed = element("button", { type: "button", class: "quiet", onclick: () => this.#choose(this.map.next("failed"), true) }, "Next failed");
    const legend = element("ul", { class: "legend", "aria-label": "States of items" },
      ...CELL_STATES.map((state) => (this[`count_${state}`] = element("li", {}, element("span", { class: "swatch" }), element("span", {}, state), " ", element("b", {}, "0")))));
    CELL_STATES.forEach((state, at) => (legend.children[at].dataset.state = state));
    return element("article", { class: "run" },
      element("div", { class: "run-head" },
        element("a", { class: "back", href: "#/runs", onclick: (event) => this.#back(event) }, "Runs"),
        element("div", { class: "title" }, this.title, this.state, element("span", { class: "grow" }), this.actions)),
      this.problem, this.facts,
      element("div", { class: "overall" }, this.bar, this.counts),
      element("div", { class: "columns" },
        element("div", { class: "column" },
          element("section", { class: "card" },
            element("div", { class: "card-head" }, element("h2", {}, "Items"), element("span", { class: "grow" }), this.nextFailed),
            legend, this.map.sight),
          this.tree.sight),
        element("div", { class: "column" }, this.detail.sight)));
  }

  #back(event) {
    if (this.backTo) {
      event.preventDefault();
      this.goTo(this.backTo);
    }
  }

  /** Follows a run; `query` may name an item. The title gets the focus, so that what is read begins there. */
  enter(id, query) {
    const item = Number(query.get("item") ?? NaN);
    if (id !== this.id || !this.#abort) this.#follow(id, Number.isNaN(item) ? 0 : item);
    else if (!Number.isNaN(item)) this.#choose(item, false);
  }

  restart() {
    if (this.id) this.#follow(this.id, this.detail.index ?? 0);
  }

  leave() {
    this.#abort?.abort();
    this.#abort = null;
    this.tree.leave();
    this.detail.leave();
    this.id = this.run = null;
  }

  #follow(id, item) {
    this.leave();
    Object.assign(this, { id, wanted: item });
    this.#ended = 0;
    this.map.clear();
    this.problem.hidden = true;
    this.actions.hidden = false;
    setText(this.title, "Run");
    this.known(false);
    this.facts.replaceChildren();
    const { signal } = (this.#abort = new AbortController());
    const params = { runId: id, wait: true, includeResults: true, resultOrder: "byCompletion", heartbeatSecs: 20 };
    follow({
      signal,
      request: (token) => post("runs/get", params, { signal, accept: "text/event-stream", lastEventId: token }),
      onMessage: (message) => this.#take(message),
      onState: (state, detail) => !signal.aborted && this.#follows(state, detail),
    });
  }

  #follows(state, detail) {
    this.problem.hidden = state !== "failed" || detail.kind === "login";
    if (state === "failed") {
      const gone = detail.kind === "gone";
      setText(this.problem, !gone ? inWords(detail) : this.run ? "This run has been deleted." : "There is no such run: it may have been deleted.");
      this.actions.hidden = gone;
    }
    this.onState(state, detail);
  }

  /** Takes an update, and returns false if it is the last one. */
  #take(message) {
    const told = message.params ?? message.result;
    if (!told || told.heartbeat) return true;
    const first = this.run === null;
    if (told.restarted) this.#ended = 0;
    this.run = told;
    this.map.total = told.items?.total ?? 0;
    for (const result of told.results ?? []) this.map.set(result.itemIndex, format.stateOf(result.status));
    if (message.params) this.#ended += told.results?.length ?? 0;
    const over = format.isOver(format.stateOf(told.status));
    if (first) this.#begin();
    if (told.items?.running || over) this.lookForRunning();
    this.refresh();
    this.draw();
    if (!over) return true;
    // The last event of the stream would repeat all results.
    const complete = message.result !== undefined || this.#ended >= (told.resultCount ?? Infinity);
    if (complete) {
      this.onState("ended");
      this.#lookWhetherGone(this.#abort.signal);
    }
    return !complete;
  }

  /** Asks, while somebody looks, whether a run is still there that has ended: its stream is over, and tells no more. */
  async #lookWhetherGone(signal) {
    const runId = this.id;
    for (;;) {
      await passed(SECONDS_BETWEEN_LOOKS, signal);
      if (signal.aborted) return;
      if (document.hidden) continue;
      try {
        await call("runs/get", { runId }, { signal });
      } catch (error) {
        // Any other answer takes nothing away from what is shown.
        if (!signal.aborted && error.kind === "gone") return this.#follows("failed", error);
      }
    }
  }

  /** What can be done with a run, and what is in it, is shown when there is one. */
  known(known) {
    this.sight.classList.toggle("unknown", !known);
  }

  #begin() {
    this.known(true);
    document.title = `${format.flowText(this.run)} · Runs`;
    this.tree.enter(this.run);
    this.detail.enter(this.id);
    this.#choose(Math.min(this.wanted, Math.max(0, this.map.states.length - 1)), false);
  }

  /** Finds which items execute: results tell of the others. What was cancelled has no result. */
  async #findRunning() {
    const { id, run } = this;
    if (!run || this.#asking) return;
    this.#asking = true;
    try {
      const over = format.isOver(format.stateOf(run.status));
      const states = over ? ["cancelled"] : ["running"];
      if (over && !run.items?.cancelled) return this.map.setRunning([]);
      const indexes = [];
      let pageToken = "";
      for (let page = 0; page < (over ? 1000 : RUNNING_PAGES); page += 1) {
        const answer = await call("runs/items", { runId: id, states, pageSize: 1000, ...(pageToken ? { pageToken } : {}) });
        if (this.id !== id) return;
        indexes.push(...answer.items.map((item) => item.itemIndex));
        pageToken = answer.nextPageToken;
        if (!pageToken) break;
      }
      if (over) for (const index of indexes) this.map.set(index, "cancelled");
      else this.map.setRunning(indexes);
    } catch (error) {
      // The map goes without them: a runtime elsewhere may not tell.
      if (!(error instanceof CallError) && error.name !== "AbortError") throw error;
    } finally {
      this.#asking = false;
      if (this.run && format.isOver(format.stateOf(this.run.status)) && !format.isOver(format.stateOf(run.status))) this.lookForRunning();
    }
  }

  #choose(index, named) {
    if (index < 0 || !this.map.states.length) return;
    this.map.activate(index);
    this.detail.choose(this.map.active);
    if (named) this.goTo(`#/runs/${this.id}?item=${this.map.active}`, { replace: true });
  }

  #draw() {
    const { run } = this;
    if (!run || !this.sight.isConnected) return;
    const state = format.stateOf(run.status);
    const over = format.isOver(state);
    setText(this.title, format.flowText(run));
    setState(this.state, state);
    this.cancel.hidden = over;
    this.#drawFacts(run);
    this.bar.style.backgroundImage = format.barOf(run.items);
    const done = format.itemsDone(run.items);
    setAttribute(this.bar, "aria-valuemax", run.items?.total ?? 0);
    setAttribute(this.bar, "aria-valuenow", done);
    setText(this.counts, `${format.number(done)} of ${format.number(run.items?.total ?? 0)} items have ended`);
    for (const each of CELL_STATES) setText(this[`count_${each}`].lastChild, format.number(run.items?.[each] ?? 0));
    this.nextFailed.hidden = !run.items?.failed;
  }

  #drawFacts(run) {
    const [created, started, ended] = [run.createdAt, run.startedAt, run.completedAt].map(format.time);
    const from = Number.isNaN(started) ? created : started;
    const facts = {
      Run: run.runId,
      Label: run.flowLabel,
      Labels: run.labels && Object.entries(run.labels).map(([name, value]) => `${name}=${value}`).join("  "),
      Created: `${format.moment(created)} (${format.ago(created)})`,
      Duration: format.duration((Number.isNaN(ended) ? Date.now() : ended) - from),
      Ended: run.completedAt && format.moment(ended),
      "Cancelled since": run.cancelReason,
      "Deleted by itself": run.expiresAt && format.moment(format.time(run.expiresAt)),
      Namespace: run.namespace,
      Inside: run.parentRunId,
      Flow: run.flowId,
    };
    const names = Object.keys(facts).filter((name) => facts[name]);
    if (names.join() !== this.shownFacts || !this.facts.children.length) {
      this.shownFacts = names.join();
      this.facts.replaceChildren(...names.map((name) => element("div", { class: `fact-${name.split(" ")[0].toLowerCase()}` },
        element("dt", {}, name), element("dd", {}, this.#factValue(name, facts[name]), name === "Run" ? copyButton("the id", () => this.id) : null))));
    }
    names.forEach((name, at) => setText(this.facts.children[at].querySelector("dd").firstChild, facts[name]));
  }

  #factValue(name, text) {
    if (name === "Inside") return element("a", { href: `#/runs/${text}` }, text);
    return element(["Run", "Flow"].includes(name) ? "code" : "span", {}, text);
  }

  #askCancel() {
    const input = element("input", { name: "reason", id: "reason", maxLength: 1000, autocomplete: "off" });
    const { id } = this;
    return ask({
      title: "Cancel this run?",
      text: "Items that have not ended are cancelled, and so are the runs inside it. Results that exist are kept.",
      fields: [element("label", { htmlFor: "reason" }, "Reason (optional)"), input],
      yes: "Cancel the run",
      danger: true,
      act: (form) => call("runs/cancel", { runId: id, ...(form.get("reason") ? { reason: form.get("reason") } : {}) }),
    });
  }

  async #askDelete() {
    const over = format.isOver(format.stateOf(this.run?.status));
    const { id } = this;
    const box = element("input", { type: "checkbox", name: "cancel", required: true });
    const done = await ask({
      title: "Delete this run?",
      text: "The run and its results are deleted for good.",
      fields: over ? [] : [element("label", { class: "check" }, box, "Cancel it before: it has not ended")],
      yes: "Delete the run",
      danger: true,
      act: (form) => call("runs/delete", { runId: id, ...(form.get("cancel") ? { cancel: true } : {}) }),
    });
    if (done) this.goTo(this.backTo ?? "#/runs");
  }
}
