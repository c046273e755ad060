// Lines of what was measured in the last minutes.

import { element, setAttribute, setText } from "./elements.js";
import { oncePerFrame } from "./frames.js";

const POINTS = 120;

export class Chart {
  #history = [];

  /** `lines` have a `name` and a class of colour; `text(value)` writes values. */
  constructor({ title, lines, text }) {
    this.text = text;
    this.lines = lines;
    this.canvas = element("canvas", { role: "img", "aria-label": `${title}: nothing is known yet` });
    this.top = element("span", { class: "chart-top muted", "aria-hidden": "true" });
    this.values = lines.map(() => element("b", {}, "–"));
    this.title = title;
    const legend = lines.map((line, at) => element("span", { class: `line-name line-${at}` }, line.name, " ", this.values[at]));
    this.sight = element("section", { class: "card chart" }, element("h2", {}, title), element("div", { class: "chart-legend" }, ...legend),
      element("div", { class: "plot" }, this.canvas, this.top));
    this.draw = oncePerFrame(() => this.#draw());
    new ResizeObserver(this.draw).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.draw);
  }

  /** Adds a value for each line; null where nothing was measured. */
  add(values) {
    this.#history.push(values);
    if (this.#history.length > POINTS) this.#history.shift();
    values.forEach((value, at) => setText(this.values[at], value === null ? "–" : this.text(value)));
    const told = this.lines.map((line, at) => `${line.name} ${values[at] === null ? "unknown" : this.text(values[at])}`);
    setAttribute(this.canvas, "aria-label", `${this.title}: ${told.join(", ")}`);
    this.draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !this.canvas.isConnected) return;
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const paint = this.canvas.getContext("2d");
    paint.scale(scale, scale);
    const style = getComputedStyle(this.canvas);
    const most = niceTop(Math.max(0, ...this.#history.flat().filter((value) => value !== null)));
    setText(this.top, most ? this.text(most) : "");
    paint.strokeStyle = style.getPropertyValue("--line");
    for (const part of [0, 0.5, 1]) {
      const y = Math.round((height - 1) * part) + 0.5;
      paint.beginPath();
      paint.moveTo(0, y);
      paint.lineTo(width, y);
      paint.stroke();
    }
    this.lines.forEach((_, at) => this.#drawLine(paint, at, { width, height, most: most || 1, colour: style.getPropertyValue(`--chart-${at}`) }));
  }

  #drawLine(paint, at, { width, height, most, colour }) {
    const step = width / (POINTS - 1);
    const first = POINTS - this.#history.length;
    paint.strokeStyle = colour;
    paint.lineWidth = 1.6;
    paint.lineJoin = "round";
    paint.setLineDash(at === 2 ? [4, 3] : []);
    paint.beginPath();
    let begun = false;
    this.#history.forEach((values, index) => {
      const value = values[at];
      if (value === null) return (begun = false);
      const x = (first + index) * step;
      const y = height - 1.5 - (value / most) * (height - 4);
      begun ? paint.lineTo(x, y) : paint.moveTo(x, y);
      begun = true;
    });
    paint.stroke();
  }
}

/** The next number of 1, 2, 5, 10, ... */
function niceTop(value) {
  if (!(value > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((each) => each * power >= value);
}
