package io.github.runs_gateway.client;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;

/**
 * The events of a stream that is started again after a cut, and goes on where it was. {@code hasNext} waits for the next
 * event. Whoever leaves before the end closes it.
 */
public abstract class ResumingStream<R, E> implements Iterator<E>, AutoCloseable {
    /** A stream that has lasted so long was not in vain, even if it has told nothing new. */
    private static final Duration STABLE = Duration.ofSeconds(1);

    private static final String TOO_EARLY = "the gateway has ended the stream too early";

    private final Connection connection;
    private final Outage outage;
    private MessageStream<?, R> messages;
    private Moment started;
    private boolean heard;
    private boolean cut;
    private boolean complete;
    private E event;

    ResumingStream(Connection connection, Outage outage) {
        this.connection = connection;
        this.outage = outage;
    }

    /** Starts a call that goes on after what has been received. */
    abstract MessageStream<?, R> start(Connection connection);

    /** How long a message may take; null: for ever. */
    abstract Duration patience();

    /** The event in a message; null if there is nothing new in it. */
    abstract E received(R message);

    /** Whether a stream that ends now, with this error or with OK (null), is complete. */
    abstract boolean isComplete(RunsException error);

    @Override
    public boolean hasNext() {
        while (event == null && !complete) {
            advance();
        }
        return event != null;
    }

    @Override
    public E next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        E told = event;
        event = null;
        return told;
    }

    @Override
    public void close() {
        complete = true;
        stop();
    }

    /** Takes note of an answer, with or without news. */
    void heard(boolean progress) {
        heard = true;
        outage.heard(progress);
    }

    /** Whether the stream was cut since this was asked before. */
    boolean reconnected() {
        boolean was = cut;
        cut = false;
        return was;
    }

    private void advance() {
        RunsException reason = null;
        try {
            if (messages == null) {
                started = Moment.now();
                heard = false;
                messages = start(connection);
            }
            Optional<R> message = messages.next(patience());
            if (message.isPresent()) {
                event = received(message.get());
                return;
            }
        } catch (RunsException error) {
            reason = error;
        }
        ended(reason);
    }

    private void ended(RunsException error) {
        stop();
        complete = true;
        if (isComplete(error)) {
            return;
        }
        cut = true;
        if (heard && started.plus(STABLE).left().isNegative()) {
            outage.heard(true);
        }
        connection.pause(outage, error == null ? RunsException.unavailable(TOO_EARLY) : error);
        complete = false;
    }

    private void stop() {
        if (messages != null) {
            messages.close();
            if (messages.isSilent()) {
                connection.replace(messages.channel());
            }
            connection.hurry();
            messages = null;
        }
    }
}
