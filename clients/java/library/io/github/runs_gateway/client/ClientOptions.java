package io.github.runs_gateway.client;

import java.nio.file.Path;
import java.time.Duration;

/**
 * Where a gateway is, and how a client shows itself to it.
 *
 * @param address {@code HOST:PORT}
 * @param tls whether the connection is secured
 * @param ca a file in PEM with the authorities that are trusted, in place of those of the system; null: those
 * @param certificate a certificate of the client's own, which needs TLS; null: none
 * @param token a bearer token; null: none
 * @param namespace the namespace that all calls concern; null: that of the token
 * @param insecure whether a token may be sent to another machine without TLS
 * @param timeout how long a call may take that follows nothing, retries included
 * @param retryFor for how long calls are tried again while the gateway cannot be reached
 */
public record ClientOptions(
        String address,
        boolean tls,
        Path ca,
        ClientCertificate certificate,
        String token,
        String namespace,
        boolean insecure,
        Duration timeout,
        Duration retryFor) {

    private static final Duration MINUTE = Duration.ofMinutes(1);

    /** A gateway at {@code HOST:PORT}, without TLS and token. */
    public static ClientOptions of(String address) {
        return new ClientOptions(address, false, null, null, null, null, false, MINUTE, MINUTE);
    }

    /** The same over TLS, with the authorities of the system. */
    public ClientOptions withTls() {
        return new ClientOptions(address, true, ca, certificate, token, namespace, insecure, timeout, retryFor);
    }

    /** The same over TLS, with these authorities. */
    public ClientOptions withCa(Path file) {
        return new ClientOptions(address, true, file, certificate, token, namespace, insecure, timeout, retryFor);
    }

    /** The same over TLS, with a certificate of the client's own. */
    public ClientOptions withCertificate(ClientCertificate own) {
        return new ClientOptions(address, true, ca, own, token, namespace, insecure, timeout, retryFor);
    }

    /** The same with a token. */
    public ClientOptions withToken(String bearer) {
        return new ClientOptions(address, tls, ca, certificate, bearer, namespace, insecure, timeout, retryFor);
    }

    /** The same in a namespace. */
    public ClientOptions withNamespace(String name) {
        return new ClientOptions(address, tls, ca, certificate, token, name, insecure, timeout, retryFor);
    }

    /** The same, with a token that may be read on its way. */
    public ClientOptions withInsecureToken() {
        return new ClientOptions(address, tls, ca, certificate, token, namespace, true, timeout, retryFor);
    }

    /** The same with another limit of calls. */
    public ClientOptions withTimeout(Duration limit) {
        return new ClientOptions(address, tls, ca, certificate, token, namespace, insecure, limit, retryFor);
    }

    /** The same with another patience with a gateway that cannot be reached. Zero: calls are not tried again. */
    public ClientOptions withRetryFor(Duration limit) {
        return new ClientOptions(address, tls, ca, certificate, token, namespace, insecure, timeout, limit);
    }

    /** Without the token. */
    @Override
    public String toString() {
        return "ClientOptions[" + address + "]";
    }
}
