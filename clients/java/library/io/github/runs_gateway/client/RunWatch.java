package io.github.runs_gateway.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.util.Durations;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.GetRunResponse;
import io.github.runs_gateway.runs.v1.RunState;
import io.github.runs_gateway.runs.v1.RunsServiceGrpc;
import java.time.Duration;

/** The states of a run, until it has ended or the timeout of the request has passed. */
public final class RunWatch extends ResumingStream<GetRunResponse, RunUpdate> {
    private static final Duration LEAST_PATIENCE = Duration.ofSeconds(1);
    private static final int MISSED_HEARTBEATS = 3;
    private static final Duration EARLY = Duration.ofMillis(50);

    private final GetRunRequest request;
    private final Moment until;
    private ByteString token;
    private long revision = -1;
    private boolean terminal;
    private boolean first;

    RunWatch(Connection connection, Outage outage, GetRunRequest request) {
        super(connection, outage);
        this.request = request;
        token = request.getResumeToken();
        until = request.hasTimeout() ? Moment.now().plus(toJava(request.getTimeout())) : null;
    }

    @Override
    MessageStream<?, GetRunResponse> start(Connection connection) {
        first = true;
        GetRunRequest.Builder again = request.toBuilder().setResumeToken(token);
        again.setMaxResponseMessageBytes(Integer.MAX_VALUE);
        if (until != null) {
            again.setTimeout(Durations.fromNanos(Math.max(0, until.left().toNanos())));
        }
        return new MessageStream<>(connection.channel(), RunsServiceGrpc.getGetRunMethod(), again.build());
    }

    @Override
    Duration patience() {
        if (!request.hasHeartbeatInterval()) {
            return null;
        }
        Duration several = toJava(request.getHeartbeatInterval()).multipliedBy(MISSED_HEARTBEATS);
        return several.compareTo(LEAST_PATIENCE) < 0 ? LEAST_PATIENCE : several;
    }

    @Override
    RunUpdate received(GetRunResponse message) {
        // The first message of each stream repeats what is known.
        heard(!first || message.getRevision() != revision || message.getRun().getResultsCount() > 0);
        first = false;
        token = message.getResumeToken();
        revision = message.getRevision();
        terminal = isTerminal(message.getRun().getStatus());
        if (message.getHeartbeat()) {
            return null;
        }
        return new RunUpdate(message.getRun(), revision, token, message.getRestarted(), reconnected());
    }

    @Override
    boolean isComplete(RunsException error) {
        if (error != null) {
            return terminal && !request.getIncludeResults();
        }
        // Any other end in order is that of a proxy, which has shortened the deadline of the call.
        return revision >= 0 && (terminal || !request.getWait() || until != null && until.left().compareTo(EARLY) <= 0);
    }

    static boolean isTerminal(RunState state) {
        return switch (state) {
            case RUN_STATE_SUCCESS, RUN_STATE_FAILED, RUN_STATE_CANCELLED -> true;
            default -> false;
        };
    }

    private static Duration toJava(com.google.protobuf.Duration duration) {
        return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
    }
}
