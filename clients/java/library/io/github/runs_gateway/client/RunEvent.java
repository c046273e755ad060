package io.github.runs_gateway.client;

/** Something about one of many runs that are watched. The last event of each run is {@link Ended} or {@link Failed}. */
public sealed interface RunEvent {
    /** The run, as its request names it. */
    String runId();

    /** The run has another state, or more results. */
    record Updated(String runId, RunUpdate update) implements RunEvent {}

    /** The run is watched no more: it has ended, or the timeout of its request has passed. */
    record Ended(String runId) implements RunEvent {}

    /** The run cannot be watched. */
    record Failed(String runId, RunsException error) implements RunEvent {}
}
