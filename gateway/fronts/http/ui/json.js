// A JSON value as a tree that opens where it is asked to, and in which texts are found.

import { copyButton, element, setText } from "./elements.js";
import { ExactNumber, toJson } from "./exact.js";
import { afterPause, Slice } from "./frames.js";
import { number } from "./format.js";

const AT_ONCE = 100;
const LONG = 1_000;
const OPEN_ENTRIES = 20;
const MOST_FOUND = 1_000;

export class JsonView {
  #found = [];
  #at = -1;
  #search = 0;

  constructor(title, value) {
    this.value = value;
    this.tree = element("div", { class: "json", tabIndex: 0, role: "region", "aria-label": title });
    this.result = element("span", { class: "muted", role: "status" });
    this.input = element("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${title.toLowerCase()}`, spellcheck: false, oninput: afterPause(200, () => this.find(this.input.value)) });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    });
    this.sight = element("section", { class: "value" },
      element("div", { class: "value-head" }, element("h3", {}, title), element("span", { class: "grow" }), this.result, this.input,
        copyButton(title.toLowerCase(), () => toJson(this.value))),
      this.tree);
    this.root = new Node(null, value, 0);
    this.tree.append(this.root.sight);
  }

  /** Looks for a text in names and values, in slices, and shows the first place. */
  async find(text) {
    const search = (this.#search += 1);
    this.#found = [];
    this.#at = -1;
    this.#mark(null);
    const wanted = text.toLowerCase();
    if (wanted) {
      const slice = new Slice();
      for (const path of pathsOf(this.value, wanted)) {
        if (path !== null) this.#found.push(path);
        if (this.#found.length >= MOST_FOUND) break;
        if (slice.over) await slice.rest();
        if (search !== this.#search) return;
      }
    }
    this.step(1);
    if (!wanted) setText(this.result, "");
  }

  step(by) {
    const count = this.#found.length;
    if (!count) {
      setText(this.result, "nothing found");
      return;
    }
    this.#at = (this.#at + by + count) % count;
    setText(this.result, `${number(this.#at + 1)} of ${count === MOST_FOUND ? "more than " : ""}${number(count)}`);
    let node = this.root;
    for (const name of this.#found[this.#at]) node = node.child(name);
    this.#mark(node);
  }

  #mark(node) {
    this.marked?.line.classList.remove("found");
    this.marked = node;
    if (node === null) return;
    node.line.classList.add("found");
    const box = this.tree.getBoundingClientRect();
    const line = node.line.getBoundingClientRect();
    if (line.top < box.top || line.bottom > box.bottom) this.tree.scrollTop += line.top - box.top - box.height / 3;
  }
}

/** The paths to what holds a text; null now and then, so that others get their turn. */
function* pathsOf(value, wanted) {
  const open = [[[], value]];
  for (let looked = 0; open.length; looked += 1) {
    const [path, each] = open.pop();
    const name = path.length ? String(path[path.length - 1]).toLowerCase() : "";
    if (holds(each, wanted) || (typeof path.at(-1) === "string" && name.includes(wanted))) yield path;
    else if (looked % 100 === 0) yield null;
    if (isTree(each)) {
      const entries = entriesOf(each);
      for (let index = entries.length - 1; index >= 0; index -= 1) open.push([[...path, entries[index][0]], entries[index][1]]);
    }
  }
}

function holds(value, wanted) {
  return !isTree(value) && textOf(value).toLowerCase().includes(wanted);
}

function isTree(value) {
  return value !== null && typeof value === "object" && !(value instanceof ExactNumber);
}

function entriesOf(value) {
  return Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value);
}

function textOf(value) {
  return value instanceof ExactNumber ? value.text : JSON.stringify(value);
}

/** One value in the tree; what is inside it is made when it is opened. */
class Node {
  #children = new Map();
  #entries = null;
  #shown = 0;

  constructor(name, value, depth) {
    this.value = value;
    this.depth = depth;
    const label = name === null ? [] : [element("span", { class: typeof name === "number" ? "index" : "key" }, String(name)), ": "];
    if (!isTree(value)) {
      this.line = this.sight = element("div", { class: "leaf" }, ...label, ...leaf(value));
      return;
    }
    this.#entries = entriesOf(value);
    const count = this.#entries.length;
    const [open, close] = Array.isArray(value) ? "[]" : "{}";
    if (!count) {
      this.line = this.sight = element("div", { class: "leaf" }, ...label, open + close);
      return;
    }
    this.line = element("summary", {}, ...label, element("span", { class: "muted" }, `${open}${number(count)}${close}`));
    this.inside = element("div", { class: "inside" });
    this.more = element("button", { type: "button", class: "quiet more", onclick: () => this.#showMore(AT_ONCE) });
    this.sight = element("details", {}, this.line, this.inside);
    this.sight.addEventListener("toggle", () => this.sight.open && this.#begin());
    if (depth === 0 || (depth < 3 && count <= OPEN_ENTRIES)) {
      this.sight.open = true;
      this.#begin();
    }
  }

  /** The node of an entry, which is opened and shown. */
  child(name) {
    this.sight.open = true;
    this.#begin();
    while (!this.#children.has(name)) this.#showMore(AT_ONCE);
    return this.#children.get(name);
  }

  #begin() {
    if (this.#shown === 0) this.#showMore(AT_ONCE);
  }

  #showMore(count) {
    const end = Math.min(this.#entries.length, this.#shown + count);
    const made = [];
    for (const [name, value] of this.#entries.slice(this.#shown, end)) {
      const node = new Node(name, value, this.depth + 1);
      this.#children.set(name, node);
      made.push(node.sight);
    }
    this.#shown = end;
    this.more.remove();
    this.inside.append(...made);
    if (end < this.#entries.length) {
      setText(this.more, `Show ${number(Math.min(AT_ONCE, this.#entries.length - end))} more of ${number(this.#entries.length - end)}`);
      this.inside.append(this.more);
    }
  }
}

function leaf(value) {
  const text = textOf(value);
  const kind = value === null ? "null" : value instanceof ExactNumber ? "number" : typeof value;
  // What has lines, such as a trace of calls, is shown in lines.
  if (kind === "string" && value.length <= LONG * 10 && value.trim().includes("\n")) return [element("span", { class: "string block" }, value)];
  const shown = element("span", { class: kind }, text.length > LONG ? `${text.slice(0, LONG)}…` : text);
  if (text.length <= LONG) return [shown];
  const all = element("button", { type: "button", class: "quiet more" }, `Show all ${number(text.length)} characters`);
  all.addEventListener("click", () => {
    shown.textContent = text;
    all.remove();
  });
  return [shown, " ", all];
}
