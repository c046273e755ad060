"""A call is ended when what is expected does not come, and only then."""

import threading

from gateway.client.watchdog import Watchdog


def test_what_does_not_come_in_time_ends_the_call() -> None:
    cancelled = threading.Event()
    with Watchdog(cancelled.set) as watchdog, watchdog.expecting(0.001):
        cancelled.wait()
    assert watchdog.expired


def test_what_comes_in_time_does_not() -> None:
    cancelled = threading.Event()
    with Watchdog(cancelled.set) as watchdog:
        for _ in range(3):
            with watchdog.expecting(3600.0):
                pass
    assert not watchdog.expired
    assert not cancelled.is_set()


def test_an_expectation_that_comes_sooner_counts() -> None:
    cancelled = threading.Event()
    with Watchdog(cancelled.set) as watchdog:
        with watchdog.expecting(3600.0):
            pass
        with watchdog.expecting(0.001):
            cancelled.wait()


def test_without_expectations_there_is_no_thread() -> None:
    threads = threading.active_count()
    with Watchdog(lambda: None) as watchdog, watchdog.expecting(None):
        assert threading.active_count() == threads
    assert not watchdog.expired
