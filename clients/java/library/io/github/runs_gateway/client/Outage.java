package io.github.runs_gateway.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** The time for which a gateway has not answered: how long to pause before each retry, and when to give up. */
final class Outage {
    private static final Duration FIRST_PAUSE = Duration.ofMillis(100);
    private static final Duration LONGEST_PAUSE = Duration.ofSeconds(5);

    private final Duration retryFor;
    private final Moment until;
    private Duration pause = FIRST_PAUSE;
    private Moment since;

    /** Retries end when the gateway has not answered for {@code retryFor}, or at {@code until}, if that is not null. */
    Outage(Duration retryFor, Moment until) {
        this.retryFor = retryFor;
        this.until = until;
    }

    /** Takes note of an answer. Without progress the next pause still grows: it may fail again and again. */
    void heard(boolean progress) {
        since = null;
        if (progress) {
            pause = FIRST_PAUSE;
        }
    }

    /** How long to pause before the next call; null if another call would not help, or not in time. */
    Duration pause(RunsException error) {
        if (!error.isTransient()) {
            return null;
        }
        // Half of a pause is by chance: clients that lost their connections at once do not come back at once.
        double share = ThreadLocalRandom.current().nextDouble(0.5, 1.0);
        Duration next = Duration.ofNanos((long) (pause.toNanos() * share));
        pause = pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
        if (error.retryAfter() != null) {
            next = next.plus(error.retryAfter());
        }
        if (error.isGoAway()) {
            since = null;
        } else if (since == null) {
            since = Moment.now();
        }
        if (since != null && since.plus(retryFor).left().compareTo(next) < 0
                || until != null && until.left().compareTo(next) <= 0) {
            return null;
        }
        return next;
    }
}
