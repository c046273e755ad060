package io.github.runs_gateway.client;

import io.grpc.Status;

/** What a thread that is interrupted gets from a call. */
final class Interrupted {
    private Interrupted() {}

    /** The error, after the interrupt has been kept for the caller. It is not tried again. */
    static RunsException error() {
        Thread.currentThread().interrupt();
        return new RunsException(Status.Code.CANCELLED, "the thread was interrupted", RunsException.Details.NONE);
    }
}
