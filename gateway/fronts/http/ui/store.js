// The picture of a set of runs, kept in the order in which they were accepted, newest first.

import { stateOf, time } from "./format.js";

/** One run in the picture. The object stays the same while the run is in it; `run` is its latest status. */
class Entry {
  constructor(run) {
    this.id = run.runId;
    this.created = time(run.createdAt);
    this.gone = false;
    this.query = -1;
    this.found = false;
    this.take(run);
  }

  take(run) {
    this.run = run;
    this.state = stateOf(run.status);
  }

  /** What is searched. */
  get text() {
    const { runId, flowId, flowName, flowLabel, labels } = this.run;
    const pairs = labels ? Object.entries(labels).map(([name, value]) => `${name}=${value}`) : [];
    return [runId, flowId, flowName, flowLabel, ...pairs].filter(Boolean).join("\n").toLowerCase();
  }
}

export class RunStore {
  /** Holds `limit` runs at most, the newest ones. */
  constructor(limit = 250_000) {
    this.limit = limit;
    this.changes = 0;
    this.clear();
  }

  clear() {
    this.entries = new Map();
    this.sorted = [];
    this.added = [];
    this.removed = 0;
    this.counts = {};
    this.left = 0;
    this.caughtUp = false;
    this.version = (this.version ?? 0) + 1;
  }

  get size() {
    return this.entries.size;
  }

  /** Takes the parameters of a `runs/set` notification. */
  apply(told) {
    if (told.restarted) this.clear();
    switch (told.event) {
      case "added":
      case "changed":
        this.put(told.runId, told.run);
        break;
      case "left":
        this.drop(told.runId);
        break;
      case "caughtUp":
        this.caughtUp = true;
        break;
    }
  }

  put(id, run) {
    if (!run) return this.drop(id);
    this.changes += 1;
    const entry = this.entries.get(id);
    if (entry === undefined) {
      const made = new Entry(run);
      this.entries.set(id, made);
      this.added.push(made);
      this.#count(made.state, 1);
      return;
    }
    this.#count(entry.state, -1);
    entry.take(run);
    this.#count(entry.state, 1);
  }

  drop(id) {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    this.changes += 1;
    this.entries.delete(id);
    entry.gone = true;
    this.removed += 1;
    this.#count(entry.state, -1);
  }

  #count(state, by) {
    this.counts[state] = (this.counts[state] ?? 0) + by;
  }

  /** Brings `sorted` up to date, with all that has come since the last time, and returns whether it has changed. */
  arrange() {
    if (!this.added.length && !this.removed) return false;
    const added = this.added.filter((entry) => !entry.gone).sort(newestFirst);
    this.sorted = merged(this.removed ? this.sorted.filter((entry) => !entry.gone) : this.sorted, added);
    this.added = [];
    this.removed = 0;
    while (this.sorted.length > this.limit) {
      const last = this.sorted.pop();
      this.entries.delete(last.id);
      this.#count(last.state, -1);
      this.left += 1;
    }
    this.version += 1;
    return true;
  }
}

function newestFirst(one, other) {
  return other.created - one.created || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0);
}

function merged(one, other) {
  if (!other.length) return one;
  if (!one.length) return other;
  if (newestFirst(one[one.length - 1], other[0]) <= 0) return one.concat(other);
  if (newestFirst(other[other.length - 1], one[0]) <= 0) return other.concat(one);
  const result = new Array(one.length + other.length);
  let left = 0;
  let right = 0;
  for (let at = 0; at < result.length; at += 1) {
    const takesLeft = right >= other.length || (left < one.length && newestFirst(one[left], other[right]) <= 0);
    result[at] = takesLeft ? one[left++] : other[right++];
  }
  return result;
}

/** The entries of a store that are to be seen: in one of some states, and found by a text; `oldestFirst` if asked. */
export class Selection {
  #seen = "";
  #query = 0;
  #words = [];

  constructor(store) {
    this.store = store;
    this.states = new Set();
    this.oldestFirst = false;
    this.entries = [];
  }

  /** Looks for entries that have each of these words. */
  search(text) {
    this.#words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.#query += 1;
  }

  get narrows() {
    return this.states.size > 0 || this.#words.length > 0;
  }

  /** Brings `entries` up to date, and returns whether it has changed. With states chosen, any change may. */
  update() {
    const { store } = this;
    const moving = this.states.size > 0 ? store.changes : 0;
    const seen = `${store.version} ${moving} ${this.#query} ${this.oldestFirst} ${[...this.states]}`;
    if (seen === this.#seen) return false;
    this.#seen = seen;
    const entries = this.narrows ? store.sorted.filter((entry) => this.#shows(entry)) : store.sorted;
    this.entries = this.oldestFirst ? [...entries].reverse() : entries;
    return true;
  }

  #shows(entry) {
    if (this.states.size && !this.states.has(entry.state)) return false;
    if (!this.#words.length) return true;
    if (entry.query !== this.#query) {
      entry.query = this.#query;
      const text = entry.text;
      entry.found = this.#words.every((word) => text.includes(word));
    }
    return entry.found;
  }
}
