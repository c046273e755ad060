package io.github.runs_gateway.client;

import com.google.protobuf.ByteString;
import io.github.runs_gateway.runs.v1.ItemResult;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.util.List;

/**
 * A state of a run that is watched.
 *
 * @param run the whole state, with the results that no earlier update has had
 * @param revision grows with each change
 * @param resumeToken names the point after this update: another watch may go on there
 * @param restarted the results begin anew: those of earlier updates count no more
 * @param reconnected the connection was lost before this update, and was made again
 */
public record RunUpdate(
        RunStatus run, long revision, ByteString resumeToken, boolean restarted, boolean reconnected) {

    /** The results that no earlier update has had. */
    public List<ItemResult> results() {
        return run.getResultsList();
    }
}
