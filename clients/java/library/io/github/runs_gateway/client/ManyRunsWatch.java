package io.github.runs_gateway.client;

import com.google.protobuf.util.Durations;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.GetRunResponse;
import io.github.runs_gateway.runs.v1.RunsServiceGrpc;
import io.github.runs_gateway.runs.v1.WatchRunsRequest;
import io.github.runs_gateway.runs.v1.WatchRunsResponse;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The states of many runs on one stream, until none of them is watched any more. What concerns one run is an event. */
public final class ManyRunsWatch extends ResumingStream<WatchRunsResponse, RunEvent> {
    /** Many runs have many heartbeats: so much of the interval is for each. */
    private static final Duration HEARTBEAT_SHARE = Duration.ofMillis(100);

    /** How many characters messages have of a text that is too long for an id. */
    private static final int NAME_LENGTH = 255;

    /** By what messages call them. */
    private final Map<String, Member> members = new HashMap<>();
    private final Duration patience;

    /** A run may fail again and again, and be given up, while others are well. */
    private record Member(FollowedRun run, Outage outage) {}

    ManyRunsWatch(Connection connection, Duration retryFor, List<GetRunRequest> requests) {
        super(connection, new Outage(retryFor, null));
        Duration share = HEARTBEAT_SHARE.multipliedBy(requests.size());
        for (GetRunRequest request : requests) {
            FollowedRun run = new FollowedRun(withRareHeartbeats(request, share));
            members.put(name(run.runId()), new Member(run, new Outage(retryFor, null)));
        }
        patience = longestPatience();
        if (members.isEmpty()) {
            close();
        }
    }

    @Override
    MessageStream<?, WatchRunsResponse> start(Connection connection) {
        boolean again = reconnected();
        List<WatchRunsRequest> requests = members.values().stream()
                .map(member -> WatchRunsRequest.newBuilder().setAdd(member.run().nextRequest(again)).build())
                .toList();
        return new MessageStream<>(connection.channel(), RunsServiceGrpc.getWatchRunsMethod(), requests);
    }

    @Override
    Duration patience() {
        return patience;
    }

    @Override
    RunEvent received(WatchRunsResponse message) {
        Member member = members.get(message.getRunId());
        if (member == null) {
            return null;
        }
        return switch (message.getEventCase()) {
            case UPDATE -> updated(member, message.getUpdate());
            case ENDED -> ended(member, null);
            case ERROR -> ended(member, StatusDetails.error(message.getError()));
            default -> null;
        };
    }

    @Override
    boolean isComplete(RunsException error) {
        return members.isEmpty();
    }

    private RunEvent updated(Member member, GetRunResponse message) {
        RunUpdate update = member.run().received(message);
        boolean news = member.run().hasNews();
        heard(news);
        member.outage().heard(news);
        return update == null ? null : new RunEvent.Updated(member.run().runId(), update);
    }

    /** The gateway follows the run no more, with this error or with none (null). Throws if it has to be asked again. */
    private RunEvent ended(Member member, RunsException error) {
        String runId = member.run().runId();
        RunEvent last = new RunEvent.Ended(runId);
        if (!member.run().isComplete(error)) {
            RunsException reason =
                    error == null ? RunsException.unavailable("the gateway has stopped following a run too early") : error;
            if (member.outage().pause(reason) != null) {
                heard(false);
                // The stream begins anew, after its own pause.
                throw reason;
            }
            last = new RunEvent.Failed(runId, reason);
        }
        heard(true);
        members.remove(name(runId));
        return last;
    }

    private static String name(String runId) {
        return runId.codePointCount(0, runId.length()) <= NAME_LENGTH
                ? runId
                : runId.substring(0, runId.offsetByCodePoints(0, NAME_LENGTH));
    }

    private static GetRunRequest withRareHeartbeats(GetRunRequest request, Duration least) {
        return request.hasHeartbeatInterval() && Durations.toNanos(request.getHeartbeatInterval()) < least.toNanos()
                ? request.toBuilder().setHeartbeatInterval(Durations.fromNanos(least.toNanos())).build()
                : request;
    }

    /** Runs with more frequent heartbeats may end before others; null if a run has none. */
    private Duration longestPatience() {
        Duration longest = Duration.ZERO;
        for (Member member : members.values()) {
            Duration patience = member.run().patience();
            if (patience == null) {
                return null;
            }
            longest = patience.compareTo(longest) > 0 ? patience : longest;
        }
        return longest;
    }
}
