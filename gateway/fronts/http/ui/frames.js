// Work is done in short slices, and what is shown changes once for each frame, however many changes come.

const SLICE_MS = 6;

/** Calls `draw` once in the next frame, however often it is asked for before; `draw.now()` does it at once. */
export function oncePerFrame(draw) {
  let asked = false;
  const run = () => {
    asked = false;
    draw();
  };
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(run);
  };
}

/** Resolves at the next frame; soon in a tab that is hidden, which has none. */
export function nextFrame() {
  return new Promise((resolve) => {
    if (document.hidden) setTimeout(resolve, 20);
    else requestAnimationFrame(() => setTimeout(resolve, 0));
  });
}

/** Tells long work when to stop until the next frame. */
export class Slice {
  #end = performance.now() + SLICE_MS;

  async rest() {
    if (performance.now() < this.#end) return;
    await nextFrame();
    this.#end = performance.now() + SLICE_MS;
  }

  get over() {
    return performance.now() >= this.#end;
  }
}

/** Calls `work` after a pause in the calls of the result. */
export function afterPause(milliseconds, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

/** Calls `work` at most once in a time, and always after the last call of the result. */
export function atMostEvery(milliseconds, work) {
  let timer = 0;
  let last = -Infinity;
  const run = () => {
    timer = 0;
    last = performance.now();
    work();
  };
  return () => {
    if (!timer) timer = setTimeout(run, Math.max(0, last + milliseconds - performance.now()));
  };
}
