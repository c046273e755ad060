package io.github.runs_gateway.client;

import io.github.runs_gateway.runs.v1.ItemResult;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Queue;

/** The results of a run, each once, also if the gateway has to begin anew. */
public final class RunResults implements Iterator<ItemResult>, AutoCloseable {
    private final RunWatch watch;
    private final Queue<ItemResult> waiting = new ArrayDeque<>();
    private final BitSet seen = new BitSet();

    RunResults(RunWatch watch) {
        this.watch = watch;
    }

    @Override
    public boolean hasNext() {
        while (waiting.isEmpty() && watch.hasNext()) {
            for (ItemResult result : watch.next().results()) {
                int index = Math.toIntExact(result.getItemIndex());
                if (!seen.get(index)) {
                    seen.set(index);
                    waiting.add(result);
                }
            }
        }
        return !waiting.isEmpty();
    }

    @Override
    public ItemResult next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return waiting.remove();
    }

    @Override
    public void close() {
        watch.close();
    }
}
