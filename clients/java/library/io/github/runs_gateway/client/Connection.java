package io.github.runs_gateway.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** The channel to a gateway. One that is dead, but does not say so, is replaced. */
final class Connection implements AutoCloseable {
    private static final long KEEPALIVE_SECONDS = 30;
    private static final long KEEPALIVE_TIMEOUT_SECONDS = 10;

    private final ClientOptions options;
    private final ChannelCredentials credentials;
    private final ClientInterceptor identity;
    private ManagedChannel channel;
    private boolean closed;

    Connection(ClientOptions options) {
        if (!Address.isOne(options.address())) {
            throw new IllegalArgumentException("\"" + options.address() + "\" is no address: it is HOST:PORT");
        }
        if (options.token() != null && !isWord(options.token())) {
            throw new IllegalArgumentException("a token is one word of visible ASCII characters");
        }
        if (options.token() != null && !options.tls() && !options.insecure() && !isLocal(options.address())) {
            throw new IllegalArgumentException("a token is sent over TLS only, or within this machine");
        }
        this.options = options;
        this.credentials = Credentials.of(options);
        this.identity = MetadataUtils.newAttachHeadersInterceptor(metadata(options));
        this.channel = open();
    }

    /** Throws RunsException if it is closed. */
    synchronized ManagedChannel channel() {
        if (closed) {
            throw new RunsException(Status.Code.CANCELLED, "the client is closed", RunsException.Details.NONE);
        }
        return channel;
    }

    /** Pauses before the next call. Throws the error if another call would not help, or not in time; at once if it is closed. */
    synchronized void pause(Outage outage, RunsException error) {
        channel();
        Duration pause = outage.pause(error);
        if (pause == null) {
            throw error;
        }
        Moment end = Moment.now().plus(pause);
        try {
            while (!closed && !end.left().isNegative()) {
                // Not for 0 ms, which is for ever.
                wait(end.left().toMillis() + 1);
            }
        } catch (InterruptedException interrupt) {
            throw Interrupted.error();
        }
        channel();
    }

    /** A stream on this channel has been silent for too long: later calls get another one. */
    synchronized void replace(ManagedChannel dead) {
        if (dead == channel && !closed) {
            channel = open();
            dead.shutdown();
        }
    }

    /** The next call connects at once: the pauses of this library are enough. */
    synchronized void hurry() {
        channel.resetConnectBackoff();
    }

    @Override
    public synchronized void close() {
        closed = true;
        channel.shutdownNow();
        notifyAll();
    }

    private ManagedChannel open() {
        return Grpc.newChannelBuilder(options.address(), credentials)
                .maxInboundMessageSize(Integer.MAX_VALUE)
                // Pings find out that a connection has died while a set has nothing to tell.
                .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
                .keepAliveTimeout(KEEPALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
                // Retries are those of this library: it knows which calls may be repeated.
                .disableRetry()
                .intercept(identity)
                .build();
    }

    private static Metadata metadata(ClientOptions options) {
        Metadata metadata = new Metadata();
        if (options.token() != null) {
            metadata.put(key("authorization"), "Bearer " + options.token());
        }
        if (options.namespace() != null) {
            metadata.put(key("runs-namespace"), options.namespace());
        }
        return metadata;
    }

    private static Metadata.Key<String> key(String name) {
        return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }

    private static boolean isWord(String token) {
        return !token.isEmpty() && token.chars().allMatch(character -> character >= '!' && character <= '~');
    }

    private static boolean isLocal(String address) {
        return address.matches("(localhost|127(\\.[0-9]+){3}|\\[::1])(:[0-9]+)?|unix:.*");
    }
}
