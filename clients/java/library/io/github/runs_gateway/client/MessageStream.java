package io.github.runs_gateway.client;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The messages of one call. A message is asked for when it is wanted: a slow reader holds one at most. */
final class MessageStream<Q, R> implements AutoCloseable {
    private final ManagedChannel channel;
    private final ClientCall<Q, R> call;
    private final BlockingQueue<Arrival<R>> arrivals = new LinkedBlockingQueue<>();
    private boolean silent;

    private record Arrival<R>(R message, Status end, Metadata trailers) {}

    /** Starts a call with all its requests. */
    MessageStream(ManagedChannel channel, MethodDescriptor<Q, R> method, List<Q> requests) {
        this.channel = channel;
        call = channel.newCall(method, CallOptions.DEFAULT);
        call.start(new Listener(), new Metadata());
        requests.forEach(call::sendMessage);
        call.halfClose();
    }

    ManagedChannel channel() {
        return channel;
    }

    /** Whether a message was overdue: the connection is dead, though it does not say so. */
    boolean isSilent() {
        return silent;
    }

    /**
     * The next message; empty if the call has ended with OK.
     *
     * @param patience how long it may take; null: for ever
     * @throws RunsException if the call has failed, or the message is overdue
     */
    Optional<R> next(Duration patience) {
        call.request(1);
        Arrival<R> arrival;
        try {
            arrival = patience == null ? arrivals.take() : arrivals.poll(patience.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interrupt) {
            throw Interrupted.error();
        }
        if (arrival == null) {
            silent = true;
            throw RunsException.unavailable("nothing has come for " + patience.toMillis() + " ms");
        }
        if (arrival.end() != null && !arrival.end().isOk()) {
            throw StatusDetails.error(arrival.end(), arrival.trailers());
        }
        return Optional.ofNullable(arrival.message());
    }

    @Override
    public void close() {
        call.cancel("the reader has left", null);
    }

    private final class Listener extends ClientCall.Listener<R> {
        @Override
        public void onMessage(R message) {
            arrivals.add(new Arrival<>(message, null, null));
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            arrivals.add(new Arrival<>(null, status, trailers));
        }
    }
}
