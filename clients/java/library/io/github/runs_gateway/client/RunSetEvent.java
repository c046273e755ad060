package io.github.runs_gateway.client;

import com.google.protobuf.ByteString;
import io.github.runs_gateway.runs.v1.RunStatus;

/**
 * Something about a set of runs.
 *
 * @param kind what has happened
 * @param runId the run; empty if the set is caught up
 * @param run its whole state; null if the set is caught up, or the run has been deleted. Results are there, if they were
 *     asked for, when the run has ended
 * @param resumeToken names the point after this event: another watch of the same filter may go on there
 * @param restarted the set begins anew: earlier events count no more
 * @param reconnected the connection was lost before this event, and was made again
 */
public record RunSetEvent(
        Kind kind, String runId, RunStatus run, ByteString resumeToken, boolean restarted, boolean reconnected) {

    /** What has happened. */
    public enum Kind {
        /** The run has come into the set. */
        ADDED,
        /** The run is in the set, and has changed. */
        CHANGED,
        /** The run is in the set no more. */
        LEFT,
        /** Everything has been told that had happened when the set was asked for. */
        CAUGHT_UP
    }
}
