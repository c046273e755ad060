package io.github.runs_gateway.client;

import io.grpc.CallOptions;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.util.concurrent.TimeUnit;

/** A call with one answer, which is made again while the gateway cannot be reached. */
final class AnsweredCall<Q, R> {
    private final Connection connection;
    private final MethodDescriptor<Q, R> method;
    private final Moment until;
    private final Outage outage;
    private int calls;

    AnsweredCall(Connection connection, ClientOptions options, MethodDescriptor<Q, R> method) {
        this.connection = connection;
        this.method = method;
        until = Moment.now().plus(options.timeout());
        outage = new Outage(options.retryFor(), until);
    }

    R answer(Q request) {
        while (true) {
            CallOptions limit = CallOptions.DEFAULT.withDeadlineAfter(until.left().toNanos(), TimeUnit.NANOSECONDS);
            calls++;
            try {
                return ClientCalls.blockingUnaryCall(connection.channel(), method, limit, request);
            } catch (StatusRuntimeException error) {
                connection.hurry();
                connection.pause(outage, StatusDetails.error(error));
            }
        }
    }

    /** Whether the call was made again: an earlier one may have had its effect. */
    boolean isRepeated() {
        return calls > 1;
    }
}
