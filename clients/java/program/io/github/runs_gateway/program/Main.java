package io.github.runs_gateway.program;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import io.github.runs_gateway.client.ClientOptions;
import io.github.runs_gateway.client.RunSet;
import io.github.runs_gateway.client.RunSetWatch;
import io.github.runs_gateway.client.RunsClient;
import io.github.runs_gateway.client.RunsException;
import io.github.runs_gateway.runs.v1.RunFilter;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;

/** Plays the scenario of all clients, or follows a run or a set for the conformance kit. */
public final class Main {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    private static final int NO_SUCH_MODE = 64;

    private Main() {}

    /** {@code play SCENARIO PLACES}, {@code follow ADDRESS RUN_ID} or {@code set ADDRESS RUN_ID}. */
    public static void main(String[] arguments) throws IOException {
        switch (arguments.length == 3 ? arguments[0] : "") {
            case "play" -> play(read(arguments[1]), read(arguments[2]));
            case "follow" -> print(follow(arguments[1], arguments[2]));
            case "set" -> print(followSet(arguments[1], arguments[2]));
            default -> {
                System.err.println("usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | set ADDRESS RUN_ID");
                System.exit(NO_SUCH_MODE);
            }
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
            return Lines.members(Map.of("error", Lines.text(error.code().name())));
        }
    }

    /** The states of all runs, when one of them has ended. */
    private static String followSet(String address, String runId) {
        RunSet picture = new RunSet();
        try (RunsClient client = new RunsClient(ClientOptions.of(address));
                RunSetWatch events = client.watchSet(RunFilter.getDefaultInstance())) {
            while (!picture.isCaughtUp() || !picture.hasEnded(runId)) {
                picture.add(events.next());
            }
        }
        return Lines.members(picture.runs().stream()
                .collect(Collectors.toMap(RunStatus::getRunId, run -> Lines.state(run).get("status"))));
    }

    private static void print(String line) {
        OUT.print(line + "\n");
        OUT.flush();
    }

    private static JsonElement read(String file) throws IOException {
        return JsonParser.parseString(Files.readString(Path.of(file)));
    }
}
