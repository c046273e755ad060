// The items of a run as a map of cells. Only what is in sight is drawn, so a million items cost no more than a thousand.

import { element, setAttribute, setText } from "./elements.js";
import { oncePerFrame } from "./frames.js";
import { number } from "./format.js";

export const CELL_STATES = ["pending", "running", "success", "failed", "cancelled"];
const CODES = Object.fromEntries(CELL_STATES.map((state, code) => [state, code]));
const GAP = 2;

export class ItemMap {
  #size = 16;
  #columns = 1;
  #active = 0;
  #colours = [];

  /** `onSelect(index)` is called when an item is chosen. */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.states = new Uint8Array(0);
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.spacer = element("div", { class: "spacer" });
    this.cell = element("div", { class: "cursor", role: "gridcell", id: "active-item", "aria-selected": "true" });
    this.row = element("div", { role: "row" }, this.cell);
    this.grid = element("div", { class: "map", role: "grid", tabIndex: 0, "aria-label": "Items", "aria-activedescendant": "active-item" },
      this.canvas, this.spacer, this.row);
    this.tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.sight = element("div", { class: "map-frame" }, this.grid, this.tip);
    this.draw = oncePerFrame(() => this.#draw());
    this.grid.addEventListener("scroll", this.draw, { passive: true });
    this.grid.addEventListener("click", (event) => this.#choose(this.#indexAt(event)));
    this.grid.addEventListener("pointermove", (event) => this.#point(event));
    this.grid.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this.grid);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = [];
      this.draw();
    });
  }

  get active() {
    return this.#active;
  }

  /** How many items there are. All are pending until something else is told. */
  set total(total) {
    if (this.states.length === total) return;
    const before = this.states;
    this.states = new Uint8Array(total);
    this.states.set(before.subarray(0, total));
    this.#fit();
  }

  clear() {
    this.states = new Uint8Array(0);
    this.#active = 0;
    this.grid.scrollTop = 0;
  }

  set(index, state) {
    const code = CODES[state] ?? 0;
    if (index < this.states.length && this.states[index] !== code) {
      this.states[index] = code;
      this.draw();
    }
  }

  stateOf(index) {
    return CELL_STATES[this.states[index] ?? 0];
  }

  /** These items execute, and no others that have not ended. */
  setRunning(indexes) {
    for (let index = 0; index < this.states.length; index += 1) if (this.states[index] === CODES.running) this.states[index] = CODES.pending;
    for (const index of indexes) if (this.states[index] === CODES.pending) this.states[index] = CODES.running;
    this.draw();
  }

  /** The next item in a state after the active one, from the beginning after the last one; -1 if there is none. */
  next(state) {
    const after = this.states.indexOf(CODES[state], this.#active + 1);
    return after >= 0 ? after : this.states.indexOf(CODES[state]);
  }

  activate(index) {
    if (!this.states.length) return;
    this.#active = Math.max(0, Math.min(this.states.length - 1, index));
    const top = Math.floor(this.#active / this.#columns) * this.#size;
    const { scrollTop, clientHeight } = this.grid;
    if (top < scrollTop) this.grid.scrollTop = top;
    else if (top + this.#size > scrollTop + clientHeight) this.grid.scrollTop = top + this.#size - clientHeight;
    this.draw();
  }

  #choose(index) {
    if (index < 0 || index >= this.states.length) return;
    this.activate(index);
    this.onSelect(index);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = this.#columns * Math.max(1, Math.floor(this.grid.clientHeight / this.#size) - 1);
    const at = this.#active;
    const to = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + this.#columns, ArrowUp: at - this.#columns,
      PageDown: at + page, PageUp: at - page, Home: 0, End: this.states.length - 1, Enter: at, " ": at,
      f: this.next("failed"), r: this.next("running"),
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0) this.#choose(Math.min(to, this.states.length - 1));
  }

  #indexAt(event) {
    const box = this.grid.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.#size);
    const row = Math.floor((event.clientY - box.top + this.grid.scrollTop) / this.#size);
    if (column >= this.#columns || column < 0) return -1;
    const index = row * this.#columns + column;
    return index < this.states.length ? index : -1;
  }

  #point(event) {
    const index = this.#indexAt(event);
    this.tip.hidden = index < 0;
    if (index < 0) return;
    setText(this.tip, `Item ${number(index)}: ${this.stateOf(index)}`);
    const box = this.sight.getBoundingClientRect();
    this.tip.style.transform = `translate(${Math.min(event.clientX - box.left + 12, box.width - 170)}px, ${event.clientY - box.top + 14}px)`;
  }

  #fit() {
    const width = this.grid.clientWidth;
    if (!width) return;
    const count = this.states.length;
    this.#size = count <= 100 ? 24 : count <= 600 ? 18 : count <= 3000 ? 14 : count <= 12000 ? 11 : 8;
    this.#columns = Math.max(1, Math.floor(width / this.#size));
    const rows = Math.ceil(count / this.#columns);
    this.grid.style.height = `${Math.min(rows * this.#size, 430) + 2}px`;
    this.spacer.style.height = `${rows * this.#size}px`;
    setAttribute(this.grid, "aria-rowcount", rows);
    setAttribute(this.grid, "aria-colcount", this.#columns);
    this.draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height, scrollTop } = this.grid;
    if (!width || !height || !this.sight.isConnected) return;
    if (!this.#colours.length) this.#readColours();
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const paint = this.canvas.getContext("2d");
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, width, height);
    const first = Math.floor(scrollTop / this.#size) * this.#columns;
    const last = Math.min(this.states.length, (Math.ceil((scrollTop + height) / this.#size) + 1) * this.#columns);
    // One colour after the other: to change it costs more than a cell.
    for (let code = 0; code < CELL_STATES.length; code += 1) this.#drawState(paint, code, first, last, scrollTop);
    this.#drawCursor();
  }

  #drawState(paint, code, first, last, scrollTop) {
    const side = this.#size - GAP;
    const mark = side >= 7;
    paint.fillStyle = paint.strokeStyle = this.#colours[code];
    paint.lineWidth = 1;
    for (let index = first; index < last; index += 1) {
      if (this.states[index] !== code) continue;
      const x = (index % this.#columns) * this.#size;
      const y = Math.floor(index / this.#columns) * this.#size - scrollTop;
      if (code === CODES.pending) paint.fillRect(x, y, side, side);
      else if (code === CODES.cancelled && mark) paint.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1), paint.fillRect(x + 1, y + side / 2 - 1, side - 2, 2);
      else if (code === CODES.running && mark) paint.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1), paint.fillRect(x + 2, y + 2, side - 4, side - 4);
      else paint.fillRect(x, y, side, side);
      if (code === CODES.failed && mark) this.#cross(paint, x, y, side);
    }
  }

  /** What failed is told by more than its colour. */
  #cross(paint, x, y, side) {
    const inset = Math.max(2, side * 0.28);
    paint.save();
    paint.strokeStyle = this.#colours[CELL_STATES.length];
    paint.lineWidth = Math.max(1.2, side / 9);
    paint.beginPath();
    paint.moveTo(x + inset, y + inset);
    paint.lineTo(x + side - inset, y + side - inset);
    paint.moveTo(x + side - inset, y + inset);
    paint.lineTo(x + inset, y + side - inset);
    paint.stroke();
    paint.restore();
  }

  #drawCursor() {
    const row = Math.floor(this.#active / this.#columns);
    const column = this.#active % this.#columns;
    this.cell.style.transform = `translate(${column * this.#size - 2}px, ${row * this.#size - 2}px)`;
    this.cell.style.width = this.cell.style.height = `${this.#size + GAP}px`;
    setAttribute(this.row, "aria-rowindex", row + 1);
    setAttribute(this.cell, "aria-colindex", column + 1);
    setAttribute(this.cell, "aria-label", `Item ${this.#active}: ${this.stateOf(this.#active)}`);
  }

  #readColours() {
    const style = getComputedStyle(this.grid);
    this.#colours = [...CELL_STATES.map((state) => style.getPropertyValue(`--${state}-fill`)), style.getPropertyValue("--surface")];
  }
}
