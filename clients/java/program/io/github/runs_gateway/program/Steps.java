package io.github.runs_gateway.program;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.github.runs_gateway.client.RunPicture;
import io.github.runs_gateway.client.RunResults;
import io.github.runs_gateway.client.RunSet;
import io.github.runs_gateway.client.RunSetEvent;
import io.github.runs_gateway.client.RunSetWatch;
import io.github.runs_gateway.client.RunUpdate;
import io.github.runs_gateway.client.RunWatch;
import io.github.runs_gateway.client.RunsClient;
import io.github.runs_gateway.client.RunsException;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.ItemResult;
import io.github.runs_gateway.runs.v1.ListRunsRequest;
import io.github.runs_gateway.runs.v1.ListRunsResponse;
import io.github.runs_gateway.runs.v1.RunStatus;
import io.github.runs_gateway.runs.v1.SubmitRunRequest;
import io.github.runs_gateway.runs.v1.WatchSet;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Plays steps, each with the client of its place, and remembers what they are called by later ones. */
final class Steps implements AutoCloseable {
    private final Places places;
    private final Map<String, String> named = new HashMap<>();

    Steps(JsonObject places) {
        this.places = new Places(places);
    }

    /** Plays a step, and returns its line. */
    String play(JsonObject step) {
        String told;
        try {
            told = Lines.members(play(places.client(step.get("at").getAsString()), step));
        } catch (RunsException error) {
            told = Lines.failure(error);
        }
        return "{\"step\":" + Lines.text(step.get("step").getAsString()) + "," + told.substring(1);
    }

    @Override
    public void close() {
        places.close();
    }

    private Map<String, String> play(RunsClient client, JsonObject step) {
        String kind = step.get("do").getAsString();
        return switch (kind) {
            case "put" -> put(client, step);
            case "submit" -> submit(client, step);
            case "get" -> Lines.state(client.get(id(step, "run")));
            case "watch" -> watch(client, step);
            case "watchMany" -> watchMany(client, step);
            case "results" -> results(client, step);
            case "set" -> set(client, step);
            case "cancel" -> Lines.state(client.cancel(id(step, "run"), reason(step)));
            case "delete" -> delete(client, step);
            case "list" -> list(client, step);
            default -> throw new IllegalArgumentException("no step is called " + kind);
        };
    }

    private Map<String, String> put(RunsClient client, JsonObject step) {
        String flowId = client.putFlow(step.get("flow").getAsString());
        remember(step, flowId);
        return Map.of("flowId", Lines.text(flowId));
    }

    private Map<String, String> submit(RunsClient client, JsonObject step) {
        SubmitRunRequest.Builder request = RunsClient.submission(id(step, "flow"), Wanted.inputs(step));
        if (step.has("key")) {
            request.setIdempotencyKey(step.get("key").getAsString());
        }
        RunStatus run = client.submit(request.putAllLabels(Wanted.labels(step)).build());
        Map<String, String> told = new LinkedHashMap<>();
        told.put("flowName", Lines.text(run.getFlowName()));
        told.put("total", Long.toString(run.getItems().getTotal()));
        remember(step, run.getRunId());
        if (step.has("sameAs")) {
            String same = named.get(step.get("sameAs").getAsString());
            told.put("same", Boolean.toString(run.getRunId().equals(same)));
        }
        return told;
    }

    /** Remembers what a step has made, if later ones call it by a name. */
    private void remember(JsonObject step, String id) {
        if (step.has("as")) {
            named.put(step.get("as").getAsString(), id);
        }
    }

    private Map<String, String> watch(RunsClient client, JsonObject step) {
        GetRunRequest request = Wanted.following(step, id(step, "run"));
        RunPicture picture = new RunPicture();
        boolean slow = isTrue(step, "slow");
        boolean reconnected = false;
        try (RunWatch updates = client.watch(request)) {
            while (updates.hasNext()) {
                RunUpdate update = updates.next();
                if (slow) {
                    slow = false;
                    client.await(request.getRunId());
                }
                picture.add(update);
                reconnected |= update.reconnected();
            }
        }
        Map<String, String> told = seen(step, picture.run());
        told.put("reconnected", Boolean.toString(reconnected));
        return told;
    }

    private Map<String, String> watchMany(RunsClient client, JsonObject step) {
        List<String> runIds = new ArrayList<>();
        step.getAsJsonArray("runs").forEach(name -> runIds.add(named.get(name.getAsString())));
        if (step.has("runIds")) {
            step.getAsJsonArray("runIds").forEach(runId -> runIds.add(runId.getAsString()));
        }
        List<GetRunRequest> requests =
                runIds.stream().map(runId -> Wanted.following(step, runId)).toList();
        ManyEnds ends = new ManyEnds(client.watchMany(requests));
        Map<String, String> told = new LinkedHashMap<>();
        told.put("runs", Lines.array(runIds.stream()
                .map(runId -> ends.shown(runId, run -> Lines.members(seen(step, run)), Lines::failure))));
        told.put("reconnected", Boolean.toString(ends.isReconnected()));
        return told;
    }

    private static Map<String, String> seen(JsonObject step, RunStatus run) {
        Map<String, String> told = Lines.state(run);
        told.put("results", shown(step, run.getResultsList()));
        return told;
    }

    private Map<String, String> results(RunsClient client, JsonObject step) {
        List<ItemResult> came = new ArrayList<>();
        try (RunResults results = client.results(id(step, "run"), Wanted.order(step))) {
            results.forEachRemaining(came::add);
        }
        return Map.of("results", shown(step, came));
    }

    private Map<String, String> set(RunsClient client, JsonObject step) {
        boolean withResults = isTrue(step, "results");
        RunSet picture = new RunSet();
        boolean reconnected = false;
        WatchSet.Builder wanted = WatchSet.newBuilder().setFilter(Wanted.filter(step));
        try (RunSetWatch events = client.watchSet(wanted.setIncludeResults(withResults).build())) {
            while (!Wanted.isComplete(picture, step.get("until").getAsString())) {
                RunSetEvent event = events.next();
                picture.add(event);
                reconnected |= event.reconnected();
            }
        }
        var runs = picture.runs().stream().sorted(Comparator.comparing(Steps::name));
        Map<String, String> told = new LinkedHashMap<>();
        told.put("runs", Lines.array(runs.map(run -> member(run, withResults))));
        told.put("reconnected", Boolean.toString(reconnected));
        return told;
    }

    private static String member(RunStatus run, boolean withResults) {
        Map<String, String> told = new LinkedHashMap<>();
        told.put("name", Lines.text(name(run)));
        told.putAll(Lines.state(run));
        if (withResults) {
            told.put("results", Lines.results(run.getResultsList()));
        }
        return Lines.members(told);
    }

    private Map<String, String> delete(RunsClient client, JsonObject step) {
        client.delete(id(step, "run"), isTrue(step, "cancel"));
        return Map.of("deleted", "true");
    }

    private Map<String, String> list(RunsClient client, JsonObject step) {
        ListRunsRequest.Builder request = ListRunsRequest.newBuilder()
                .setFilter(Wanted.filter(step))
                .setPageSize(step.get("pageSize").getAsInt())
                .setIncludeTotal(true);
        List<RunStatus> runs = new ArrayList<>();
        ListRunsResponse page;
        do {
            page = client.list(request.build());
            runs.addAll(page.getRunsList());
            request.setPageToken(page.getNextPageToken());
        } while (!page.getNextPageToken().isEmpty());
        Map<String, String> told = new LinkedHashMap<>();
        told.put("runs", Lines.array(runs.stream().map(run -> Lines.text(name(run)))));
        told.put("total", Long.toString(page.getTotalSize()));
        return told;
    }

    private static String reason(JsonObject step) {
        return step.has("reason") ? step.get("reason").getAsString() : "";
    }

    private static String name(RunStatus run) {
        return run.getLabelsOrThrow("name");
    }

    private static String shown(JsonObject step, List<ItemResult> results) {
        return isTrue(step, "summary") ? Lines.summary(results) : Lines.results(results);
    }

    private static boolean isTrue(JsonObject step, String member) {
        JsonElement value = step.get(member);
        return value != null && value.getAsBoolean();
    }

    /** The id that a step gives, or that of what an earlier one has called so. */
    private String id(JsonObject step, String kind) {
        JsonElement given = step.get(kind + "Id");
        return given != null ? given.getAsString() : named.get(step.get(kind).getAsString());
    }
}
