package io.github.runs_gateway.program;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.util.Durations;
import io.github.runs_gateway.client.RunSet;
import io.github.runs_gateway.client.RunsClient;
import io.github.runs_gateway.runs.v1.GetRunRequest;
import io.github.runs_gateway.runs.v1.ResultOrder;
import io.github.runs_gateway.runs.v1.RunFilter;
import io.github.runs_gateway.runs.v1.RunState;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What a step gives: inputs, labels, how a run is followed, a filter, and how far a set is followed. */
final class Wanted {
    private Wanted() {}

    /** The texts of inputs: they are given as such, or many alike by their number and length. */
    static List<String> inputs(JsonObject step) {
        List<String> texts = new ArrayList<>();
        for (JsonElement each : step.getAsJsonArray("inputs")) {
            if (each.isJsonObject()) {
                JsonObject many = each.getAsJsonObject();
                String pad = "x".repeat(many.get("pad").getAsInt());
                for (int index = 0; index < many.get("count").getAsInt(); index++) {
                    texts.add("[" + index + ",\"" + pad + "\"]");
                }
            } else {
                texts.add(each.getAsString());
            }
        }
        return texts;
    }

    static Map<String, String> labels(JsonObject step) {
        Map<String, String> labels = new HashMap<>();
        if (step.has("labels")) {
            step.getAsJsonObject("labels").entrySet()
                    .forEach(label -> labels.put(label.getKey(), label.getValue().getAsString()));
        }
        return labels;
    }

    static ResultOrder order(JsonObject step) {
        return step.has("order") && step.get("order").getAsString().equals("byCompletion")
                ? ResultOrder.RESULT_ORDER_BY_COMPLETION
                : ResultOrder.RESULT_ORDER_BY_INDEX;
    }

    /** The request to follow a run. */
    static GetRunRequest following(JsonObject step, String runId) {
        GetRunRequest.Builder request = RunsClient.following(runId).setResultOrder(order(step));
        if (step.has("heartbeat")) {
            request.setHeartbeatInterval(Durations.fromMillis((long) (step.get("heartbeat").getAsDouble() * 1000)));
        }
        return request.build();
    }

    static RunFilter filter(JsonObject step) {
        RunFilter.Builder filter = RunFilter.newBuilder().putAllLabels(labels(step));
        if (step.has("states")) {
            for (JsonElement state : step.getAsJsonArray("states")) {
                filter.addStates(RunState.valueOf("RUN_STATE_" + state.getAsString().toUpperCase(Locale.ROOT)));
            }
        }
        return filter.build();
    }

    /** Whether a set has come to where a step follows it to. */
    static boolean isComplete(RunSet picture, String until) {
        return picture.isCaughtUp() && switch (until) {
            case "empty" -> picture.runs().isEmpty();
            case "ended" -> !picture.runs().isEmpty() && picture.haveEnded();
            default -> true;
        };
    }
}
