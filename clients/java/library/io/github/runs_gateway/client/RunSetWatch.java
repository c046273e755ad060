package io.github.runs_gateway.client;

import com.google.protobuf.ByteString;
import io.github.runs_gateway.runs.v1.CaughtUp;
import io.github.runs_gateway.runs.v1.GetRunResponse;
import io.github.runs_gateway.runs.v1.ItemResult;
import io.github.runs_gateway.runs.v1.RunStatus;
import io.github.runs_gateway.runs.v1.RunsServiceGrpc;
import io.github.runs_gateway.runs.v1.SetEvent;
import io.github.runs_gateway.runs.v1.WatchRunsRequest;
import io.github.runs_gateway.runs.v1.WatchRunsResponse;
import io.github.runs_gateway.runs.v1.WatchSet;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** The events of a set of runs. It has no end: whoever has seen enough closes it. */
public final class RunSetWatch extends ResumingStream<WatchRunsResponse, RunSetEvent> {
    private final WatchSet set;
    private final List<ItemResult> results = new ArrayList<>();
    private ByteString token;
    private boolean restarted;

    RunSetWatch(Connection connection, Outage outage, WatchSet set) {
        super(connection, outage);
        this.set = set.getName().isEmpty() ? set.toBuilder().setName("runs").build() : set;
        token = set.getResumeToken();
    }

    @Override
    MessageStream<?, WatchRunsResponse> start(Connection connection) {
        results.clear();
        restarted = false;
        WatchSet.Builder again = set.toBuilder().setResumeToken(token);
        again.setOnlyNew(set.getOnlyNew() && token.isEmpty()).setMaxResponseMessageBytes(Integer.MAX_VALUE);
        return new MessageStream<>(
                connection.channel(),
                RunsServiceGrpc.getWatchRunsMethod(),
                List.of(WatchRunsRequest.newBuilder().setAddSet(again).build()));
    }

    /** Nothing is sent while nothing happens. A peer that has vanished does not answer the pings of the connection. */
    @Override
    Duration patience() {
        return null;
    }

    @Override
    RunSetEvent received(WatchRunsResponse message) {
        return switch (message.getEventCase()) {
            case CAUGHT_UP -> caughtUp(message.getCaughtUp());
            case UPDATE -> updated(message);
            case ERROR -> throw StatusDetails.error(message.getError());
            default -> throw RunsException.unavailable("the gateway has stopped following the set too early");
        };
    }

    @Override
    boolean isComplete(RunsException error) {
        return false;
    }

    private RunSetEvent caughtUp(CaughtUp message) {
        return event(RunSetEvent.Kind.CAUGHT_UP, "", null, message.getResumeToken(), message.getRestarted());
    }

    private RunSetEvent updated(WatchRunsResponse message) {
        GetRunResponse update = message.getUpdate();
        if (update.getHeartbeat()) {
            heard(false);
            return null;
        }
        results.addAll(update.getRun().getResultsList());
        if (update.getResumeToken().isEmpty()) {
            // More results of this run are to come.
            restarted |= update.getRestarted();
            heard(true);
            return null;
        }
        RunStatus run = update.hasRun() ? whole(update.getRun()) : null;
        results.clear();
        return event(
                kind(message.getSetEvent()), message.getRunId(), run, update.getResumeToken(), update.getRestarted());
    }

    private RunStatus whole(RunStatus run) {
        return run.toBuilder().clearResults().addAllResults(results).build();
    }

    private RunSetEvent event(RunSetEvent.Kind kind, String runId, RunStatus run, ByteString next, boolean anew) {
        heard(!next.equals(token));
        token = next;
        boolean begins = anew || restarted;
        restarted = false;
        return new RunSetEvent(kind, runId, run, next, begins, reconnected());
    }

    private static RunSetEvent.Kind kind(SetEvent event) {
        return switch (event) {
            case SET_EVENT_ADDED -> RunSetEvent.Kind.ADDED;
            case SET_EVENT_LEFT -> RunSetEvent.Kind.LEFT;
            default -> RunSetEvent.Kind.CHANGED;
        };
    }
}
