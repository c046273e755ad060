// A grid of rows of which only those in sight are in the document, however many there are.
//
// Focus stays on the grid; the active row is named by its key, so it stays the same run when rows move.

import { element, setAttribute } from "./elements.js";

const BEYOND = 6;

export class VirtualTable {
  #rows = [];
  #entries = [];
  #height;
  #first = -1;
  #activeKey = null;
  #activeIndex = -1;

  /**
   * `columns` have `title` and `name`; `makeCells(row)` fills a new row, and `draw(row, entry)` shows an entry in it.
   * `keyOf(entry)` tells entries apart. `onOpen(entry)` is called by Enter and by a click.
   */
  constructor({ label, columns, makeCells, draw, keyOf, onOpen, rowHeight }) {
    Object.assign(this, { makeCells, draw, keyOf, onOpen });
    this.#height = rowHeight;
    this.columns = columns;
    this.body = element("div", { class: "rows", role: "rowgroup" });
    const heads = columns.map((column, index) =>
      element("div", { class: `cell ${column.name}`, role: "columnheader", "aria-colindex": index + 1 }, column.head ?? column.title),
    );
    this.head = element("div", { class: "head", role: "rowgroup" },
      element("div", { class: "row", role: "row", "aria-rowindex": 1 }, ...heads));
    this.grid = element("div", {
      class: "table", role: "grid", tabIndex: 0, "aria-label": label, "aria-colcount": columns.length, "aria-rowcount": 1,
    }, this.head, this.body);
    this.grid.addEventListener("scroll", () => this.render(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    this.observer = new ResizeObserver(() => this.render());
    this.observer.observe(this.grid);
  }

  set rowHeight(height) {
    if (height === this.#height) return;
    const middle = this.grid.scrollTop / this.#height;
    this.#height = height;
    this.grid.scrollTop = middle * height;
    this.#forget();
    this.#resize();
  }

  get active() {
    return this.#activeIndex < 0 ? null : this.#entries[this.#activeIndex];
  }

  /** Shows other entries. Whoever has scrolled, or has chosen a row, keeps seeing the same ones. */
  show(entries) {
    const anchor = this.grid.scrollTop > 0 ? this.#entries[Math.floor(this.grid.scrollTop / this.#height)] : null;
    const before = anchor ? Math.floor(this.grid.scrollTop / this.#height) : 0;
    this.#entries = entries;
    this.#resize();
    if (anchor && entries[before] !== anchor) {
      const now = near(entries, anchor, before);
      if (now >= 0) this.grid.scrollTop += (now - before) * this.#height;
    }
    if (this.#activeKey !== null && !(this.active && this.keyOf(this.active) === this.#activeKey)) {
      this.#activeIndex = entries.findIndex((entry) => this.keyOf(entry) === this.#activeKey);
    }
    this.render();
  }

  #resize() {
    this.body.style.height = `${this.#entries.length * this.#height}px`;
    setAttribute(this.grid, "aria-rowcount", this.#entries.length + 1);
  }

  /** Draws what is in sight. */
  render() {
    const { clientHeight, scrollTop } = this.grid;
    if (!clientHeight) return;
    const first = Math.max(0, Math.floor(scrollTop / this.#height) - BEYOND);
    const count = Math.min(this.#entries.length - first, Math.ceil(clientHeight / this.#height) + 2 * BEYOND);
    this.#keepRows(Math.max(0, Math.ceil(clientHeight / this.#height) + 2 * BEYOND));
    this.#first = first;
    const used = new Set();
    for (let index = first; index < first + count; index += 1) {
      const row = this.#rows[index % this.#rows.length];
      used.add(row);
      this.#place(row, index);
      this.draw(row, this.#entries[index]);
    }
    for (const row of this.#rows) if (!used.has(row)) row.hidden = true;
    const active = this.#rowAt(this.#activeIndex);
    setAttribute(this.grid, "aria-activedescendant", active ? active.id : null);
  }

  #place(row, index) {
    if (row.hidden) row.hidden = false;
    if (row.index !== index) {
      row.index = index;
      row.style.transform = `translateY(${index * this.#height}px)`;
      row.setAttribute("aria-rowindex", index + 2);
    }
    const active = index === this.#activeIndex;
    if (row.active !== active) {
      row.active = active;
      row.classList.toggle("active", active);
      setAttribute(row, "aria-selected", active ? "true" : "false");
    }
  }

  #keepRows(wanted) {
    if (this.#rows.length === wanted) return;
    this.#forget();
    while (this.#rows.length > wanted) this.#rows.pop().remove();
    while (this.#rows.length < wanted) {
      const row = element("div", { class: "row", role: "row", id: `row-${this.#rows.length}`, hidden: true });
      row.append(...this.makeCells(row));
      this.#rows.push(row);
      this.body.append(row);
    }
  }

  #forget() {
    for (const row of this.#rows) row.index = row.drawn = undefined;
  }

  #rowAt(index) {
    const row = index < 0 || !this.#rows.length ? undefined : this.#rows[index % this.#rows.length];
    return row && !row.hidden && row.index === index ? row : undefined;
  }

  /** Makes a row the active one, and brings it into sight. */
  activate(index) {
    if (!this.#entries.length) return;
    this.#activeIndex = Math.max(0, Math.min(this.#entries.length - 1, index));
    this.#activeKey = this.keyOf(this.#entries[this.#activeIndex]);
    const top = this.#activeIndex * this.#height;
    const room = this.grid.clientHeight - this.head.offsetHeight;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + this.#height > this.grid.scrollTop + room) this.grid.scrollTop = top + this.#height - room;
    this.render();
  }

  #key(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.#height) - 2);
    const from = this.#activeIndex;
    const to = {
      ArrowDown: from + 1, ArrowUp: from < 0 ? 0 : from - 1, PageDown: from + page, PageUp: from - page, Home: 0,
      End: this.#entries.length - 1,
    }[event.key];
    if (to !== undefined) this.activate(to);
    else if (event.key === "Enter" && this.active) this.onOpen(this.active);
    else return;
    event.preventDefault();
  }

  #click(event) {
    const row = event.target.closest(".row");
    if (row === null || event.target.closest("a") || getSelection().toString()) return;
    this.activate(row.index);
    this.onOpen(this.#entries[row.index]);
  }
}

/** Where an entry is that was at `index` before a few others came or left. */
function near(entries, entry, index) {
  for (let away = 0; away < 5000; away += 1) {
    if (entries[index + away] === entry) return index + away;
    if (entries[index - away] === entry) return index - away;
  }
  return entries.indexOf(entry);
}
