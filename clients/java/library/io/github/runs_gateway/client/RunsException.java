package io.github.runs_gateway.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.List;

/** A call has failed: the gateway has refused it, or cannot be reached. */
public final class RunsException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final Status.Code code;
    private final transient Details details;

    /** What the gateway says about an error, beside its message. */
    record Details(String reason, List<Violation> violations, Duration retryAfter) {
        static final Details NONE = new Details("", List.of(), null);
    }

    RunsException(Status.Code code, String message, Details details) {
        super(message == null || message.isEmpty() ? code.name() : message);
        this.code = code;
        this.details = details;
    }

    /** An outage that has no status of its own: a stream that ends too early, or is silent. */
    static RunsException unavailable(String message) {
        return new RunsException(Status.Code.UNAVAILABLE, message, Details.NONE);
    }

    /** The code of gRPC, as {@code NOT_FOUND}. */
    public Status.Code code() {
        return code;
    }

    /** The reason for programs, as {@code IDEMPOTENCY_KEY_REUSED}; the name of the code if the gateway gave none. */
    public String reason() {
        return details.reason().isEmpty() ? code.name() : details.reason();
    }

    /** The fields that break their rules. */
    public List<Violation> violations() {
        return details.violations();
    }

    /** How long to wait before another call, if the gateway says so; else null. */
    public Duration retryAfter() {
        return details.retryAfter();
    }

    /** Whether the gateway asks for another connection, and is well. */
    boolean isGoAway() {
        return reason().equals("GO_AWAY");
    }

    /** Whether the same call may succeed later. */
    public boolean isTransient() {
        // Without a deadline of its own that has passed, which ends all retries, a call has met that of a proxy.
        return code == Status.Code.UNAVAILABLE || code == Status.Code.DEADLINE_EXCEEDED || retryAfter() != null;
    }
}
