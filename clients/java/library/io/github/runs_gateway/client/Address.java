package io.github.runs_gateway.client;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a gateway is, as callers write it. */
final class Address {
    /** What gRPC does not take for a name with a scheme, as {@code dns:///HOST:PORT}. */
    private static final Pattern HOST_AND_PORT = Pattern.compile("([^:/\\[\\]]*|\\[[^/\\[\\]]*\\]):([^:/]*)");

    private static final Pattern HOPELESS = Pattern.compile("|https?://.*|.*\\s.*", Pattern.DOTALL);
    private static final int LAST_PORT = 65_535;

    private Address() {}

    /** Whether a text may be an address. Later, one that cannot be would seem to be a gateway that is away. */
    static boolean isOne(String text) {
        Matcher parts = HOST_AND_PORT.matcher(text);
        if (HOPELESS.matcher(text).matches()) {
            return false;
        }
        return !parts.matches() || parts.group(1).equals("unix") || isPort(parts.group(2));
    }

    private static boolean isPort(String text) {
        return text.matches("[0-9]{1,5}") && Integer.parseInt(text) > 0 && Integer.parseInt(text) <= LAST_PORT;
    }
}
