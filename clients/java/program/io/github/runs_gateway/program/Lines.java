package io.github.runs_gateway.program;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.github.runs_gateway.client.RunsException;
import io.github.runs_gateway.runs.v1.ItemError;
import io.github.runs_gateway.runs.v1.ItemResult;
import io.github.runs_gateway.runs.v1.RunState;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What the program prints: JSON whose members have one order, with payloads as the texts that they are. */
final class Lines {
    private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();

    /** Gson escapes two separators of lines that JSON has as they are. */
    private static final Pattern ESCAPED = Pattern.compile("\\\\(u2028|u2029|.)");

    private Lines() {}

    /** An object of members whose values are JSON text. */
    static String members(Map<String, String> texts) {
        return texts.entrySet().stream()
                .map(member -> text(member.getKey()) + ":" + member.getValue())
                .collect(Collectors.joining(",", "{", "}"));
    }

    static String text(String value) {
        return ESCAPED.matcher(GSON.toJson(value)).replaceAll(found -> switch (found.group(1)) {
            case "u2028" -> "\u2028";
            case "u2029" -> "\u2029";
            default -> Matcher.quoteReplacement(found.group());
        });
    }

    static String array(Stream<String> texts) {
        return texts.collect(Collectors.joining(",", "[", "]"));
    }

    /** How far a run is. */
    static Map<String, String> state(RunStatus run) {
        Map<String, String> told = new LinkedHashMap<>();
        told.put("status", state(run.getStatus()));
        told.put("total", Long.toString(run.getItems().getTotal()));
        told.put("success", Long.toString(run.getItems().getSuccess()));
        told.put("failed", Long.toString(run.getItems().getFailed()));
        told.put("cancelled", Long.toString(run.getItems().getCancelled()));
        if (run.hasCancelReason()) {
            told.put("cancelReason", text(run.getCancelReason()));
        }
        return told;
    }

    static String results(List<ItemResult> results) {
        return array(results.stream().map(Lines::result));
    }

    /** What can be told of many results in short: whether each came once, in order, and how long they are. */
    static String summary(List<ItemResult> results) {
        boolean inOrder = true;
        long bytes = 0;
        for (int place = 0; place < results.size(); place++) {
            inOrder &= results.get(place).getItemIndex() == place;
            bytes += results.get(place).getValue().getJson().getBytes(StandardCharsets.UTF_8).length;
        }
        return "{\"count\":" + results.size() + ",\"inOrder\":" + inOrder + ",\"bytes\":" + bytes + "}";
    }

    /** The end of a run with its results. */
    static String folded(RunStatus run) {
        return "{\"status\":" + state(run.getStatus()) + ",\"results\":" + results(run.getResultsList()) + "}";
    }

    static String failure(RunsException error) {
        String violations = array(error.violations().stream()
                .map(each -> "{\"field\":" + text(each.field())
                        + ",\"description\":" + text(each.description()) + "}"));
        return "{\"error\":{\"code\":" + text(error.code().name()) + ",\"reason\":" + text(error.reason())
                + ",\"violations\":" + violations + "}}";
    }

    private static String state(RunState state) {
        return text(state.name().substring("RUN_STATE_".length()).toLowerCase(Locale.ROOT));
    }

    private static String result(ItemResult result) {
        Map<String, String> told = new LinkedHashMap<>();
        told.put("itemIndex", Long.toString(result.getItemIndex()));
        told.put("status", state(result.getStatus()));
        switch (result.getOutcomeCase()) {
            case VALUE -> told.put("value", result.getValue().getJson());
            case ERROR -> told.put("error", error(result.getError()));
            default -> { }
        }
        return members(told);
    }

    private static String error(ItemError error) {
        Map<String, String> told = new LinkedHashMap<>();
        told.put("code", Long.toString(error.getCode()));
        told.put("message", text(error.getMessage()));
        if (error.hasData()) {
            told.put("data", error.getData().getJson());
        }
        return members(told);
    }
}
