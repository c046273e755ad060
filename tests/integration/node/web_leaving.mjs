// Leaves a stream of a run at its first update, in the way of the library: by its signal, or by cancelling the call.
// Returns the run that the update tells of.
export async function first(runs, runId) {
  const leaving = new AbortController();
  for await (const update of runs.getRun({ runId, wait: true }, { signal: leaving.signal })) {
    leaving.abort();
    return update.run.runId;
  }
  return null;
}
