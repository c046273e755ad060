package io.github.runs_gateway.client;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a channel trusts, and shows. Files of no use are refused here: a channel would only seem to find no gateway. */
final class Credentials {
    private static final Pattern KEY =
            Pattern.compile("-----BEGIN PRIVATE KEY-----\\s+([A-Za-z0-9+/=\\s]+)-----END PRIVATE KEY-----");

    /** How to try whether a key fits, by its algorithm. */
    private static final Map<String, String> SIGNATURES =
            Map.of("RSA", "SHA256withRSA", "EC", "SHA256withECDSA", "EdDSA", "EdDSA");

    private Credentials() {}

    /** Throws IllegalArgumentException if a file is of no use, and UncheckedIOException if it cannot be read. */
    static ChannelCredentials of(ClientOptions options) {
        if (!options.tls()) {
            return InsecureChannelCredentials.create();
        }
        TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
        try {
            if (options.ca() != null) {
                byte[] authorities = read(options.ca());
                firstCertificate(options.ca(), authorities);
                credentials.trustManager(new ByteArrayInputStream(authorities));
            }
            if (options.certificate() != null) {
                show(options.certificate(), credentials);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error.getMessage(), error);
        }
        return credentials.build();
    }

    private static byte[] read(Path file) throws IOException {
        try {
            return Files.readAllBytes(file);
        } catch (IOException error) {
            throw new IOException("cannot read " + file, error);
        }
    }

    private static void show(ClientCertificate own, TlsChannelCredentials.Builder credentials) throws IOException {
        byte[] chain = read(own.chain());
        byte[] key = read(own.key());
        PublicKey certified = firstCertificate(own.chain(), chain).getPublicKey();
        if (!fits(decoded(own.key(), key), certified)) {
            throw new IllegalArgumentException(own.key() + " has no key that fits the certificate");
        }
        credentials.keyManager(new ByteArrayInputStream(chain), new ByteArrayInputStream(key));
    }

    private static Certificate firstCertificate(Path file, byte[] pem) {
        try {
            return CertificateFactory.getInstance("X.509")
                    .generateCertificates(new ByteArrayInputStream(pem))
                    .iterator()
                    .next();
        } catch (CertificateException | NoSuchElementException error) {
            throw new IllegalArgumentException(file + " has no certificates in PEM");
        }
    }

    private static byte[] decoded(Path file, byte[] pem) {
        Matcher found = KEY.matcher(new String(pem, StandardCharsets.ISO_8859_1));
        if (!found.find()) {
            throw new IllegalArgumentException(file + " has no key in PEM, in PKCS 8");
        }
        return Base64.getMimeDecoder().decode(found.group(1));
    }

    /** Whether what the one signs is verified by the other. */
    private static boolean fits(byte[] key, PublicKey certified) {
        String algorithm = certified.getAlgorithm();
        try {
            PrivateKey ours = KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(key));
            if (!SIGNATURES.containsKey(algorithm)) {
                return true;
            }
            Signature signature = Signature.getInstance(SIGNATURES.get(algorithm));
            signature.initSign(ours);
            signature.update(certified.getEncoded());
            byte[] signed = signature.sign();
            signature.initVerify(certified);
            signature.update(certified.getEncoded());
            return signature.verify(signed);
        } catch (GeneralSecurityException error) {
            return false;
        }
    }
}
