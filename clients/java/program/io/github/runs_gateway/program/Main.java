package io.github.runs_gateway.program;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import io.github.runs_gateway.client.ClientOptions;
import io.github.runs_gateway.client.RunSet;
import io.github.runs_gateway.client.RunSetWatch;
import io.github.runs_gateway.client.RunsClient;
import io.github.runs_gateway.client.RunsException;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.RunFilter;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** Plays the scenario of all clients, or follows a run, many, or a set for the conformance kit. */
public final class Main {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    private static final int FAILED = 1;
    private static final int NO_SUCH_MODE = 64;

    private Main() {}

    /**
     * {@code play SCENARIO PLACES}, {@code follow ADDRESS RUN_ID}, {@code watch ADDRESS RUN_ID...} or
     * {@code set ADDRESS RUN_ID}.
     */
    public static void main(String[] arguments) {
        try {
            run(List.of(arguments));
        } catch (IllegalArgumentException | IOException | UncheckedIOException error) {
            System.err.println(error.getMessage());
            System.exit(FAILED);
        }
    }

    private static void run(List<String> given) throws IOException {
        switch (given.size() == 3 || given.size() > 1 && given.get(0).equals("watch") ? given.get(0) : "") {
            case "play" -> play(read(given.get(1)), read(given.get(2)));
            case "follow" -> print(follow(given.get(1), given.get(2)));
            case "watch" -> print(followMany(given.get(1), given.subList(2, given.size())));
            case "set" -> print(followSet(given.get(1), given.get(2)));
            default -> {
                System.err.println("usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID..."
                        + " | set ADDRESS RUN_ID");
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
            return refused(error);
        }
    }

    /** How each of many runs has ended, which are followed on one stream. */
    private static String followMany(String address, List<String> runIds) {
        List<GetRunRequest> requests =
                runIds.stream().map(runId -> RunsClient.following(runId).build()).toList();
        try (RunsClient client = new RunsClient(ClientOptions.of(address))) {
            ManyEnds ends = new ManyEnds(client.watchMany(requests));
            return Lines.members(runIds.stream()
                    .distinct()
                    .collect(Collectors.toMap(
                            runId -> runId, runId -> ends.shown(runId, Lines::folded, Main::refused))));
        }
    }

    private static String refused(RunsException error) {
        return Lines.members(Map.of("error", Lines.text(error.code().name())));
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
