package io.github.runs_gateway.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import io.github.runs_gateway.client.details.BadRequest;
import io.github.runs_gateway.client.details.ErrorInfo;
import io.github.runs_gateway.client.details.RetryInfo;
import io.github.runs_gateway.runs.v1.WatchError;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** Reads the details of errors, a serialized {@code google.rpc.Status}. */
final class StatusDetails {
    private static final Metadata.Key<byte[]> TRAILER =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

    /** What gRPC says about a connection that is lost. Errors of the gateway have a reason. */
    private static final Set<Status.Code> LOST =
            EnumSet.of(Status.Code.ABORTED, Status.Code.CANCELLED, Status.Code.INTERNAL, Status.Code.UNKNOWN);

    private StatusDetails() {}

    static RunsException error(StatusRuntimeException error) {
        return error(error.getStatus(), error.getTrailers());
    }

    static RunsException error(Status status, Metadata trailers) {
        byte[] details = trailers == null ? null : trailers.get(TRAILER);
        return error(status.getCode(), status.getDescription(), details == null ? new byte[0] : details);
    }

    /** Why a run or a set of a stream cannot be followed. */
    static RunsException error(WatchError error) {
        Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
        return error(code, error.getMessage(), error.getStatusDetails().toByteArray());
    }

    private static RunsException error(Status.Code code, String message, byte[] serialized) {
        RunsException.Details details = RunsException.Details.NONE;
        try {
            details = read(serialized);
        } catch (InvalidProtocolBufferException ignored) {
            // Details of another server: the code is enough.
        }
        boolean lost = details.reason().isEmpty() && LOST.contains(code);
        return new RunsException(lost ? Status.Code.UNAVAILABLE : code, message, details);
    }

    private static RunsException.Details read(byte[] serialized) throws InvalidProtocolBufferException {
        String reason = "";
        List<Violation> violations = List.of();
        Duration retryAfter = null;
        var status = io.github.runs_gateway.client.details.Status.parseFrom(serialized);
        for (Any detail : status.getDetailsList()) {
            switch (detail.getTypeUrl().substring(detail.getTypeUrl().lastIndexOf('/') + 1)) {
                case "google.rpc.ErrorInfo" -> reason = ErrorInfo.parseFrom(detail.getValue()).getReason();
                case "google.rpc.BadRequest" -> violations = violations(BadRequest.parseFrom(detail.getValue()));
                case "google.rpc.RetryInfo" -> retryAfter = delay(RetryInfo.parseFrom(detail.getValue()));
                default -> { }
            }
        }
        return new RunsException.Details(reason, violations, retryAfter);
    }

    private static List<Violation> violations(BadRequest request) {
        return request.getFieldViolationsList().stream()
                .map(field -> new Violation(field.getField(), field.getDescription()))
                .toList();
    }

    private static Duration delay(RetryInfo info) {
        return Duration.ofSeconds(info.getRetryDelay().getSeconds(), info.getRetryDelay().getNanos());
    }
}
