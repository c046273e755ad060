package io.github.runs_gateway.client;

import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.GetRunResponse;
import io.github.runs_gateway.runs.v1.RunState;
import io.github.runs_gateway.runs.v1.RunsServiceGrpc;
import java.time.Duration;
import java.util.List;

/** The states of a run, until it has ended or the timeout of the request has passed. */
public final class RunWatch extends ResumingStream<GetRunResponse, RunUpdate> {
    private final FollowedRun run;

    RunWatch(Connection connection, Outage outage, GetRunRequest request) {
        super(connection, outage);
        run = new FollowedRun(request);
    }

    @Override
    MessageStream<?, GetRunResponse> start(Connection connection) {
        List<GetRunRequest> request = List.of(run.nextRequest(reconnected()));
        return new MessageStream<>(connection.channel(), RunsServiceGrpc.getGetRunMethod(), request);
    }

    @Override
    Duration patience() {
        return run.patience();
    }

    @Override
    RunUpdate received(GetRunResponse message) {
        RunUpdate update = run.received(message);
        heard(run.hasNews());
        return update;
    }

    @Override
    boolean isComplete(RunsException error) {
        return run.isComplete(error);
    }

    static boolean isTerminal(RunState state) {
        return switch (state) {
            case RUN_STATE_SUCCESS, RUN_STATE_FAILED, RUN_STATE_CANCELLED -> true;
            default -> false;
        };
    }
}
