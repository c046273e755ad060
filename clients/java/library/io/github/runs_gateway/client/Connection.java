package io.github.runs_gateway.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.util.concurrent.TimeUnit;

/** The channel to a gateway. One that is dead, but does not say so, is replaced. */
final class Connection implements AutoCloseable {
    private static final long KEEPALIVE_SECONDS = 30;
    private static final long KEEPALIVE_TIMEOUT_SECONDS = 10;

    private final ClientOptions options;
    private final ChannelCredentials credentials;
    private final ClientInterceptor identity;
    private ManagedChannel channel;

    Connection(ClientOptions options) {
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

    synchronized ManagedChannel channel() {
        return channel;
    }

    /** A stream on this channel has been silent for too long: later calls get another one. */
    synchronized void replace(ManagedChannel dead) {
        if (dead == channel) {
            channel = open();
            dead.shutdown();
        }
    }

    /** The next call connects at once: the pauses of this library are enough. */
    void hurry() {
        channel().resetConnectBackoff();
    }

    @Override
    public synchronized void close() {
        channel.shutdownNow();
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
