// JSON whose numbers are kept as they were sent: a double holds neither 1152921504606846977 nor 1e400.

/** A number that a double does not hold. */
export class ExactNumber {
  constructor(text) {
    this.text = text;
  }
}

export function parseExactly(text) {
  return JSON.parse(text, (_, value, context) => {
    if (typeof value !== "number" || context?.source === undefined) return value;
    return String(value) === context.source ? value : new ExactNumber(context.source);
  });
}

/** The text of a value; `indent` is how far each level is moved in. */
export function toJson(value, indent = 2, level = 0) {
  if (value instanceof ExactNumber) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const entries = Array.isArray(value)
    ? value.map((entry) => toJson(entry, indent, level + 1))
    : Object.entries(value).map(([name, entry]) => `${JSON.stringify(name)}: ${toJson(entry, indent, level + 1)}`);
  if (!entries.length) return open + close;
  const pad = "\n" + " ".repeat(indent * (level + 1));
  return `${open}${pad}${entries.join(`,${pad}`)}\n${" ".repeat(indent * level)}${close}`;
}
