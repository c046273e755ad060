package io.github.runs_gateway.client;

import io.github.runs_gateway.runs.v1.ItemResult;
import io.github.runs_gateway.runs.v1.RunStatus;
import java.util.ArrayList;
import java.util.List;

/** The picture of a run that its updates make: the latest state, with the results of all. */
public final class RunPicture {
    private RunStatus last = RunStatus.getDefaultInstance();
    private final List<ItemResult> results = new ArrayList<>();

    /** Adds the next update. */
    public void add(RunUpdate update) {
        if (update.restarted()) {
            results.clear();
        }
        results.addAll(update.results());
        last = update.run();
    }

    /** The run as it is known. */
    public RunStatus run() {
        return last.toBuilder().clearResults().addAllResults(results).build();
    }
}
