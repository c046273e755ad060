// What the inputs above the table ask the gateway for.

export const SPANS = [
  { name: "", title: "Any time" },
  { name: "1h", title: "Last hour", minutes: 60 },
  { name: "24h", title: "Last 24 hours", minutes: 24 * 60 },
  { name: "7d", title: "Last 7 days", minutes: 7 * 24 * 60 },
  { name: "30d", title: "Last 30 days", minutes: 30 * 24 * 60 },
];

/** The `filter` of runs/watch. States are chosen here, so that the others are counted as well. */
export function filterOf({ flow = "", label = "", since = "", roots = "" }) {
  const filter = {};
  if (/^sha256:[0-9a-f]{64}$|^[0-9a-f]{64}$/i.test(flow)) filter.flowIds = [flow.includes(":") ? flow : `sha256:${flow}`];
  else if (flow) filter.flowName = flow.endsWith("*") ? flow : `${flow}*`;
  const labels = {};
  for (const part of label.split(",").map((each) => each.trim()).filter(Boolean)) {
    const at = part.indexOf("=");
    if (at > 0) labels[part.slice(0, at)] = part.slice(at + 1);
    else filter.flowLabel = part.endsWith("*") ? part : `${part}*`;
  }
  if (Object.keys(labels).length) filter.labels = labels;
  const span = SPANS.find(({ name }) => name === since);
  // In whole minutes: the same address asks for the same set for a while.
  if (span?.minutes) filter.createdAfter = new Date((Math.floor(Date.now() / 60000) - span.minutes) * 60000).toISOString();
  if (roots === "1") filter.rootsOnly = true;
  return filter;
}
