package io.github.runs_gateway.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.util.Durations;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.GetRunResponse;
import java.time.Duration;

/** How far a run has been followed: what to ask for next, and what a message means. */
final class FollowedRun {
    private static final Duration LEAST_PATIENCE = Duration.ofSeconds(1);
    private static final int MISSED_HEARTBEATS = 3;
    private static final Duration EARLY = Duration.ofMillis(50);

    private final GetRunRequest request;
    private final Moment until;
    private ByteString token;
    private long revision = -1;
    private boolean terminal;
    private boolean first;
    private boolean news;
    private boolean cut;

    FollowedRun(GetRunRequest request) {
        this.request = request;
        token = request.getResumeToken();
        until = request.hasTimeout() ? Moment.now().plus(toJava(request.getTimeout())) : null;
    }

    String runId() {
        return request.getRunId();
    }

    /**
     * The request for what has not been received.
     *
     * @param again whether the connection was lost since the last one
     */
    GetRunRequest nextRequest(boolean again) {
        first = true;
        cut |= again;
        GetRunRequest.Builder next = request.toBuilder().setResumeToken(token);
        next.setMaxResponseMessageBytes(Integer.MAX_VALUE);
        if (until != null) {
            next.setTimeout(Durations.fromNanos(Math.max(0, until.left().toNanos())));
        }
        return next.build();
    }

    /** How long the gateway may send nothing; null: for ever. */
    Duration patience() {
        if (!request.hasHeartbeatInterval()) {
            return null;
        }
        Duration several = toJava(request.getHeartbeatInterval()).multipliedBy(MISSED_HEARTBEATS);
        return several.compareTo(LEAST_PATIENCE) < 0 ? LEAST_PATIENCE : several;
    }

    /** The update in a message; null in a heartbeat. */
    RunUpdate received(GetRunResponse message) {
        news = !first || message.getRevision() != revision || message.getRun().getResultsCount() > 0;
        first = false;
        token = message.getResumeToken();
        revision = message.getRevision();
        terminal = RunWatch.isTerminal(message.getRun().getStatus());
        if (message.getHeartbeat()) {
            return null;
        }
        boolean reconnected = cut;
        cut = false;
        return new RunUpdate(message.getRun(), revision, token, message.getRestarted(), reconnected);
    }

    /** Whether the last message has told anything new. The first one after each request repeats what is known. */
    boolean hasNews() {
        return news;
    }

    /** Whether all has been received if the gateway ends now, with this error or with OK (null). */
    boolean isComplete(RunsException error) {
        if (error != null) {
            return terminal && !request.getIncludeResults();
        }
        // Any other end in order is that of a proxy, which has shortened the deadline of the call.
        return revision >= 0 && (terminal || !request.getWait() || until != null && until.left().compareTo(EARLY) <= 0);
    }

    private static Duration toJava(com.google.protobuf.Duration duration) {
        return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
    }
}
