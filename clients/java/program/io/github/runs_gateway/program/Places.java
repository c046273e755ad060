package io.github.runs_gateway.program;

import com.google.gson.JsonObject;
import io.github.runs_gateway.client.ClientCertificate;
import io.github.runs_gateway.client.ClientOptions;
import io.github.runs_gateway.client.RunsClient;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** Where steps are played: a client for each place. */
final class Places implements AutoCloseable {
    private final JsonObject places;
    private final Map<String, RunsClient> clients = new HashMap<>();

    Places(JsonObject places) {
        this.places = places;
    }

    RunsClient client(String name) {
        return clients.computeIfAbsent(name, place -> new RunsClient(options(places.getAsJsonObject(place))));
    }

    @Override
    public void close() {
        clients.values().forEach(RunsClient::close);
    }

    private static ClientOptions options(JsonObject place) {
        ClientOptions options = ClientOptions.of(place.get("address").getAsString());
        if (place.has("ca")) {
            options = options.withCa(path(place, "ca"));
        }
        if (place.has("cert") || place.has("key")) {
            options = options.withCertificate(new ClientCertificate(path(place, "cert"), path(place, "key")));
        }
        if (place.has("token")) {
            options = options.withToken(place.get("token").getAsString());
        }
        if (place.has("giveUpAfter")) {
            long milliseconds = (long) (place.get("giveUpAfter").getAsDouble() * 1000);
            options = options.withRetryFor(Duration.ofMillis(milliseconds));
        }
        return options;
    }

    private static Path path(JsonObject place, String file) {
        return place.has(file) ? Path.of(place.get(file).getAsString()) : null;
    }
}
