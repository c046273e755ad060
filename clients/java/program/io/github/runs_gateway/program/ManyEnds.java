package io.github.runs_gateway.program;

import io.github.runs_gateway.client.ManyRunsWatch;
import io.github.runs_gateway.client.RunEvent;
import io.github.runs_gateway.client.RunPicture;
import io.github.runs_gateway.client.RunsException;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/** How each of many runs has ended: its last state with all its results, or the error for which it could not be followed. */
final class ManyEnds {
    private final Map<String, RunStatus> runs = new LinkedHashMap<>();
    private final Map<String, RunsException> errors = new LinkedHashMap<>();
    private boolean reconnected;

    /** Follows many runs until none of them is followed any more. */
    ManyEnds(ManyRunsWatch watch) {
        Map<String, RunPicture> pictures = new HashMap<>();
        try (watch) {
            while (watch.hasNext()) {
                RunEvent event = watch.next();
                if (event instanceof RunEvent.Updated updated) {
                    reconnected |= updated.update().reconnected();
                    pictures.computeIfAbsent(event.runId(), id -> new RunPicture()).add(updated.update());
                } else if (event instanceof RunEvent.Failed failed) {
                    errors.put(event.runId(), failed.error());
                } else {
                    runs.put(event.runId(), pictures.remove(event.runId()).run());
                }
            }
        }
    }

    /** What is printed for a run, by its end or by its error. */
    String shown(String runId, Function<RunStatus, String> end, Function<RunsException, String> error) {
        return errors.containsKey(runId) ? error.apply(errors.get(runId)) : end.apply(runs.get(runId));
    }

    /** Whether the connection was lost meanwhile. */
    boolean isReconnected() {
        return reconnected;
    }
}
