package io.github.runs_gateway.client;

import java.nio.file.Path;

/**
 * What a client shows a gateway that wants a certificate. Both files are in PEM.
 *
 * @param chain a file with the certificate, and with those between it and an authority
 * @param key a file with its key, in PKCS 8
 */
public record ClientCertificate(Path chain, Path key) {
    /** Throws IllegalArgumentException if one of them is null. */
    public ClientCertificate {
        if (chain == null || key == null) {
            throw new IllegalArgumentException("a certificate and its key come together");
        }
    }
}
