// The runs inside a run, as a tree that changes live.

import { badge, element, setText } from "./elements.js";
import { atMostEvery } from "./frames.js";
import * as format from "./format.js";
import { post } from "./rpc.js";
import { RunStore } from "./store.js";
import { follow } from "./stream.js";

const MOST = 500;

export class RunTree {
  #abort = null;
  #focused = null;

  constructor(goTo) {
    this.goTo = goTo;
    this.store = new RunStore(20_000);
    this.list = element("ul", { class: "tree", role: "tree", "aria-label": "Runs inside this one" });
    this.note = element("p", { class: "muted" });
    this.sight = element("section", { class: "card subruns", hidden: true }, element("h2", {}, "Sub-runs"), this.list, this.note);
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.draw = atMostEvery(250, () => this.#draw());
  }

  /** Follows the runs below the root of a run. */
  enter(run) {
    this.leave();
    this.run = run;
    this.rootId = run.rootRunId ?? run.runId;
    const { signal } = (this.#abort = new AbortController());
    const params = { filter: { rootRunId: this.rootId }, heartbeatSecs: 20 };
    follow({
      signal,
      request: (token) => post("runs/watch", params, { signal, accept: "text/event-stream", lastEventId: token }),
      onMessage: ({ params: told }) => {
        this.store.apply(told);
        if (told.event !== "heartbeat") this.draw();
      },
      // How the stream of the run itself is says enough.
      onState: () => {},
    });
  }

  leave() {
    this.#abort?.abort();
    this.store.clear();
    this.sight.hidden = true;
  }

  #draw() {
    this.store.arrange();
    const isChild = this.rootId !== this.run.runId;
    this.sight.hidden = !this.store.size && !isChild;
    if (this.sight.hidden) return;
    const inside = new Map();
    for (const { run } of [...this.store.sorted].reverse()) {
      const above = run.parentRunId ?? this.rootId;
      if (!inside.has(above)) inside.set(above, []);
      inside.get(above).push(run);
    }
    const left = { nodes: MOST };
    const root = isChild ? { runId: this.rootId } : this.run;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.list.replaceChildren(this.#node(root, inside, left, 1, new Set()));
    const rest = this.store.size + 1 - (MOST - left.nodes);
    setText(this.note, rest > 0 ? `${format.number(rest)} more are not shown.` : "");
    this.#moveTo(focused ?? this.#focused ?? this.run.runId, focused !== null);
  }

  #node(run, inside, left, level, above) {
    left.nodes -= 1;
    const state = run.status ? format.stateOf(run.status) : null;
    const link = element("span", { class: "tree-line" },
      state ? badge(state) : null,
      element("span", { class: "name" }, run.status ? format.flowText(run) : "The outermost run"),
      run.flowLabel ? element("span", { class: "label" }, run.flowLabel) : null,
      element("span", { class: "muted" }, run.items ? `${format.number(format.itemsDone(run.items))} / ${format.number(run.items.total)}` : ""),
      element("code", {}, format.shortId(run.runId)));
    const children = above.has(run.runId) ? [] : inside.get(run.runId) ?? [];
    const path = new Set([...above, run.runId]);
    const shown = [];
    for (const child of children) {
      if (left.nodes <= 0) break;
      shown.push(this.#node(child, inside, left, level + 1, path));
    }
    const isHere = run.runId === this.run.runId;
    const item = element("li", { role: "treeitem", tabIndex: -1, "aria-level": level, "aria-selected": String(isHere), "aria-expanded": shown.length ? "true" : null },
      link, shown.length ? element("ul", { role: "group" }, ...shown) : null);
    item.dataset.id = run.runId;
    link.addEventListener("click", () => this.goTo(`#/runs/${run.runId}`));
    return item;
  }

  #moveTo(id, withFocus) {
    const items = [...this.list.querySelectorAll("[role=treeitem]")];
    const chosen = items.find((item) => item.dataset.id === id) ?? items[0];
    for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
    this.#focused = chosen?.dataset.id ?? null;
    if (withFocus) chosen?.focus();
  }

  #key(event) {
    const items = [...this.list.querySelectorAll("[role=treeitem]")];
    const at = items.indexOf(document.activeElement);
    if (at < 0) return;
    const inner = items[at].querySelector("[role=treeitem]");
    const outer = items[at].parentElement.closest("[role=treeitem]");
    const to = { ArrowDown: items[at + 1], ArrowUp: items[at - 1], Home: items[0], End: items.at(-1), ArrowRight: inner, ArrowLeft: outer }[event.key];
    if (event.key === "Enter") this.goTo(`#/runs/${items[at].dataset.id}`);
    else if (to) this.#moveTo(to.dataset.id, true);
    else return;
    event.preventDefault();
  }
}
