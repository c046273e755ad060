package io.github.runs_gateway.program;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import io.github.runs_gateway.client.ClientOptions;
import io.github.runs_gateway.client.RunsClient;
import io.github.runs_gateway.client.RunsException;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Plays the scenario of all clients, or follows one run. */
public final class Main {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    private Main() {}

    /** {@code play SCENARIO PLACES} or {@code follow ADDRESS RUN_ID}. */
    public static void main(String[] arguments) throws IOException {
        if (arguments.length == 3 && arguments[0].equals("play")) {
            play(read(arguments[1]), read(arguments[2]));
        } else if (arguments.length == 3 && arguments[0].equals("follow")) {
            print(follow(arguments[1], arguments[2]));
        } else {
            System.err.println("usage: play SCENARIO PLACES | follow ADDRESS RUN_ID");
            System.exit(2);
        }
    }

    private static void play(JsonElement scenario, JsonElement places) {
        try (Steps steps = new Steps(places.getAsJsonObject())) {
            scenario.getAsJsonArray().forEach(step -> print(steps.play(step.getAsJsonObject())));
        }
    }

    private static String follow(String address, String runId) {
        try (RunsClient client = new RunsClient(ClientOptions.of(address))) {
            return Lines.folded(client.await(runId));
        } catch (RunsException error) {
            return Lines.failure(error);
        }
    }

    private static void print(String line) {
        OUT.print(line + "\n");
        OUT.flush();
    }

    private static JsonElement read(String file) throws IOException {
        return JsonParser.parseString(Files.readString(Path.of(file)));
    }
}
