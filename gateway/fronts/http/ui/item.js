// One item of a run in full: its steps on a time line, its input, and its result or its error.

import { badge, element, setText } from "./elements.js";
import * as format from "./format.js";
import { JsonView } from "./json.js";
import { call, inWords } from "./rpc.js";
import { timeline } from "./timeline.js";

const PAGE = 1_000;

/** Finds single items: pages lead to them, and where a page begins is remembered. */
export class ItemReader {
  #tokens = new Map([[0, ""]]);

  constructor(runId) {
    this.runId = runId;
  }

  async read(index, signal) {
    let start = Math.max(...[...this.#tokens.keys()].filter((each) => each <= index));
    while (start < index) {
      const { items, nextPageToken } = await this.#page(start, Math.min(PAGE, index - start), false, signal);
      if (!items.length || !nextPageToken) return null;
      start = items.at(-1).itemIndex + 1;
      this.#tokens.set(start, nextPageToken);
    }
    const { items } = await this.#page(index, 1, true, signal);
    return items.find((item) => item.itemIndex === index) ?? null;
  }

  #page(start, pageSize, whole, signal) {
    const pageToken = this.#tokens.get(start);
    const params = { runId: this.runId, pageSize, ...(pageToken ? { pageToken } : {}), ...(whole ? { includeInputs: true } : {}) };
    return call("runs/items", params, { signal, exact: whole });
  }
}

export class ItemDetail {
  #abort = null;
  #shown = "";

  constructor() {
    this.title = element("h2", {}, "Item");
    this.body = element("div", {});
    this.sight = element("section", { class: "card detail", "aria-label": "The chosen item" }, this.title, this.body);
    this.index = null;
  }

  enter(runId) {
    this.reader = new ItemReader(runId);
  }

  leave() {
    this.#abort?.abort();
    this.reader = this.index = null;
    this.#shown = "";
    this.over = false;
    this.body.replaceChildren();
    setText(this.title, "Item");
  }

  choose(index) {
    if (index === this.index) return;
    this.index = index;
    this.over = false;
    this.#read();
  }

  /** Reads the item again, unless it has ended. */
  refresh() {
    if (this.reader && this.index !== null && !this.over) this.#read();
  }

  async #read() {
    const { reader, index } = this;
    this.#abort?.abort();
    const { signal } = (this.#abort = new AbortController());
    try {
      const item = await reader.read(index, signal);
      if (!signal.aborted) this.#show(index, item);
    } catch (error) {
      if (signal.aborted) return;
      setText(this.title, `Item ${format.number(index)}`);
      this.body.replaceChildren(element("p", { class: "problem" }, inWords(error)));
      this.#shown = "";
    }
  }

  #show(index, item) {
    // What has not changed stays as it is, with what is open in it.
    const text = JSON.stringify([index, item?.status, item?.attempts, item?.steps, item?.completedAt]);
    if (text === this.#shown && !item?.steps?.some((step) => step.status === "running")) return;
    const valuesStay = this.#shown && JSON.parse(this.#shown).slice(0, 2).join() === [index, item?.status].join();
    this.#shown = text;
    setText(this.title, `Item ${format.number(index)}`);
    if (item === null) {
      this.body.replaceChildren(element("p", { class: "muted" }, "Nothing is known of this item."));
      return;
    }
    this.over = format.isOver(format.stateOf(item.status));
    if (!valuesStay) this.values = valuesOf(item);
    this.body.replaceChildren(aboutOf(item), ...stepsOf(item), ...this.values);
  }
}

function aboutOf(item) {
  const [from, to] = [item.startedAt, item.completedAt].map(format.time);
  const parts = [];
  if (!Number.isNaN(from)) parts.push(`began ${format.moment(from)}`);
  if (!Number.isNaN(from) && !Number.isNaN(to)) parts.push(`took ${format.duration(to - from)}`);
  else if (!Number.isNaN(to)) parts.push(`ended ${format.moment(to)}`);
  if (item.attempts > 1) parts.push(`${item.attempts} attempts`);
  return element("p", { class: "about" }, badge(format.stateOf(item.status)), " ", element("span", { class: "muted" }, parts.join(" · ")));
}

function stepsOf(item) {
  return item.steps?.length ? [element("h3", {}, "Steps"), timeline(item.steps)] : [];
}

function valuesOf(item) {
  const made = [];
  // The outcome is in the form of the specification, or, from engines elsewhere, beside the state.
  const outcome = typeof item.result?.result?.outcome === "string" ? item.result.result : item.result ?? {};
  if (outcome.error) {
    made.push(element("p", { class: "item-error" }, element("b", {}, `Error ${outcome.error.code}`), " ", element("span", {}, outcome.error.message)));
    if (outcome.error.data !== undefined && outcome.error.data !== null) made.push(new JsonView("Error data", outcome.error.data).sight);
  }
  const value = outcome.value !== undefined ? outcome.value : outcome.result;
  if (value !== undefined) made.push(new JsonView("Result", value).sight);
  if (item.input !== undefined) made.push(new JsonView("Input", item.input).sight);
  return made;
}
