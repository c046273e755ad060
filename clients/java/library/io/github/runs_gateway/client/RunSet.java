package io.github.runs_gateway.client;

import io.github.runs_gateway.runs.v1.RunStatus;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The picture of a set that its events make: the latest state of each run that has not left. */
public final class RunSet {
    private final Map<String, RunStatus> runs = new LinkedHashMap<>();
    private boolean caughtUp;

    /** Adds the next event. */
    public void add(RunSetEvent event) {
        if (event.restarted()) {
            runs.clear();
        }
        if (event.restarted() || event.reconnected()) {
            caughtUp = false;
        }
        switch (event.kind()) {
            case CAUGHT_UP -> caughtUp = true;
            case LEFT -> runs.remove(event.runId());
            default -> {
                if (event.run() == null) {
                    runs.remove(event.runId());
                } else {
                    runs.put(event.runId(), event.run());
                }
            }
        }
    }

    /** The runs that are in the set. */
    public Collection<RunStatus> runs() {
        return Collections.unmodifiableCollection(runs.values());
    }

    /** Whether the picture is complete, but for what is on its way. */
    public boolean isCaughtUp() {
        return caughtUp;
    }

    /** Whether a run is in the set, and has ended. */
    public boolean hasEnded(String runId) {
        return runs.containsKey(runId) && hasEnded(runs.get(runId));
    }

    /** Whether all runs that are in the set have ended. */
    public boolean haveEnded() {
        return runs.values().stream().allMatch(RunSet::hasEnded);
    }

    private static boolean hasEnded(RunStatus run) {
        return RunWatch.isTerminal(run.getStatus());
    }
}
