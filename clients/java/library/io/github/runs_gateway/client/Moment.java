package io.github.runs_gateway.client;

import java.time.Duration;

/** A time of a clock that nobody sets. */
record Moment(long nanos) {
    static Moment now() {
        return new Moment(System.nanoTime());
    }

    Moment plus(Duration time) {
        return new Moment(nanos + time.toNanos());
    }

    /** How long until then; negative afterwards. */
    Duration left() {
        return Duration.ofNanos(nanos - System.nanoTime());
    }
}
