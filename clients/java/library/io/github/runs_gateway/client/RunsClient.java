package io.github.runs_gateway.client;

import com.google.protobuf.util.Durations;
import io.github.runs_gateway.runs.v1.BlobType;
import io.github.runs_gateway.runs.v1.BlobsServiceGrpc;
import io.github.runs_gateway.runs.v1.CancelRunRequest;
import io.github.runs_gateway.runs.v1.DeleteRunRequest;
import io.github.runs_gateway.runs.v1.DeleteRunResponse;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.JsonValue;
import io.github.runs_gateway.runs.v1.ListRunsRequest;
import io.github.runs_gateway.runs.v1.ListRunsResponse;
import io.github.runs_gateway.runs.v1.PutBlobRequest;
import io.github.runs_gateway.runs.v1.ResultOrder;
import io.github.runs_gateway.runs.v1.RunFilter;
import io.github.runs_gateway.runs.v1.RunStatus;
import io.github.runs_gateway.runs.v1.RunsServiceGrpc;
import io.github.runs_gateway.runs.v1.SubmitRunRequest;
import io.github.runs_gateway.runs.v1.WatchSet;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.List;
import java.util.UUID;

/**
 * A client of a gateway. Threads may share it.
 *
 * <p>A call that finds the gateway unreachable, or overloaded, is made again with growing pauses; it takes effect once.
 * All methods throw {@link RunsException}.
 */
public final class RunsClient implements AutoCloseable {
    private static final long HEARTBEAT_SECONDS = 10;

    private final ClientOptions options;
    private final Connection connection;

    /**
     * Connects when the first call is made. Throws IllegalArgumentException if the address can be none, or a token has anything
     * but visible ASCII in it or would be sent where others can read it, or a file is of no use; UncheckedIOException if one
     * cannot be read.
     */
    public RunsClient(ClientOptions options) {
        this.options = options;
        connection = new Connection(options);
    }

    /** Stores a flow, which is JSON text, and returns its id. */
    public String putFlow(String flow) {
        PutBlobRequest request =
                PutBlobRequest.newBuilder().setJson(flow).setType(BlobType.BLOB_TYPE_FLOW).build();
        return answer(BlobsServiceGrpc.getPutBlobMethod(), request).getBlobId();
    }

    /** Submits a run with an item for each input, which is JSON text. */
    public RunStatus submit(String flowId, List<String> inputs) {
        return submit(submission(flowId, inputs).build());
    }

    /** A submission to which options can be added, for example an idempotency key. */
    public static SubmitRunRequest.Builder submission(String flowId, List<String> inputs) {
        SubmitRunRequest.Builder request = SubmitRunRequest.newBuilder().setFlowId(flowId);
        inputs.forEach(input -> request.addInputs(JsonValue.newBuilder().setJson(input)));
        return request;
    }

    /** Submits a run. Without an idempotency key it gets one, so that the call can be made again. */
    public RunStatus submit(SubmitRunRequest request) {
        SubmitRunRequest keyed = request.getIdempotencyKey().isEmpty()
                ? request.toBuilder().setIdempotencyKey(UUID.randomUUID().toString()).build()
                : request;
        return answer(RunsServiceGrpc.getSubmitRunMethod(), keyed).getRun();
    }

    /** The present state of a run, with the results that exist. */
    public RunStatus get(String runId) {
        return folded(watch(GetRunRequest.newBuilder().setRunId(runId).setIncludeResults(true).build()));
    }

    /** The state of a run when it has ended, with all its results, by index. */
    public RunStatus await(String runId) {
        return folded(watch(runId));
    }

    /** Follows a run to its end, with its results by index. */
    public RunWatch watch(String runId) {
        return watch(following(runId).build());
    }

    /** A request to follow a run to its end, to which options can be added. */
    public static GetRunRequest.Builder following(String runId) {
        return GetRunRequest.newBuilder()
                .setRunId(runId)
                .setWait(true)
                .setIncludeResults(true)
                .setHeartbeatInterval(Durations.fromSeconds(HEARTBEAT_SECONDS));
    }

    /** Follows a run. */
    public RunWatch watch(GetRunRequest request) {
        Moment until = request.getWait() ? null : Moment.now().plus(options.timeout());
        return new RunWatch(connection, new Outage(options.retryFor(), until), request);
    }

    /**
     * Follows many runs on one stream. Of a run that is asked for twice, the last request counts. With very many runs,
     * heartbeats are less frequent than requests say.
     */
    public ManyRunsWatch watchMany(List<GetRunRequest> requests) {
        return new ManyRunsWatch(connection, options.retryFor(), requests);
    }

    /** The results of a run as they come, each once. */
    public RunResults results(String runId, ResultOrder order) {
        return new RunResults(watch(following(runId).setResultOrder(order).build()));
    }

    /** Follows all runs that match a filter, those as well that are submitted later. */
    public RunSetWatch watchSet(RunFilter filter) {
        return watchSet(WatchSet.newBuilder().setFilter(filter).build());
    }

    /** Follows a set of runs. */
    public RunSetWatch watchSet(WatchSet set) {
        return new RunSetWatch(connection, new Outage(options.retryFor(), null), set);
    }

    /** Cancels a run, and returns its state. The reason may be empty. */
    public RunStatus cancel(String runId, String reason) {
        CancelRunRequest request =
                CancelRunRequest.newBuilder().setRunId(runId).setReason(reason).build();
        return answer(RunsServiceGrpc.getCancelRunMethod(), request).getRun();
    }

    /**
     * Deletes a run that has ended, with its inputs and results.
     *
     * @param cancel whether a run that has not ended is cancelled before
     */
    public void delete(String runId, boolean cancel) {
        DeleteRunRequest request =
                DeleteRunRequest.newBuilder().setRunId(runId).setCancel(cancel).build();
        AnsweredCall<DeleteRunRequest, DeleteRunResponse> call =
                new AnsweredCall<>(connection, options, RunsServiceGrpc.getDeleteRunMethod());
        try {
            call.answer(request);
        } catch (RunsException error) {
            if (!call.isRepeated() || error.code() != Status.Code.NOT_FOUND) {
                throw error;
            }
            // An earlier call, whose answer was lost, has deleted it.
        }
    }

    /** A page of the runs that match a filter. */
    public ListRunsResponse list(ListRunsRequest request) {
        return answer(RunsServiceGrpc.getListRunsMethod(), request);
    }

    /** Closes the connection. Calls of other threads, and those that follow, fail at once, with CANCELLED. */
    @Override
    public void close() {
        connection.close();
    }

    private <Q, R> R answer(MethodDescriptor<Q, R> method, Q request) {
        return new AnsweredCall<>(connection, options, method).answer(request);
    }

    /** The last state of a run, with the results of all updates. */
    private static RunStatus folded(RunWatch watch) {
        RunPicture picture = new RunPicture();
        try (watch) {
            watch.forEachRemaining(picture::add);
        }
        return picture.run();
    }
}
