"""A pytest plugin that gives every session the same surroundings, whatever shell started it.

Signals, umask, locale, time zone, home directory, standard input and environment are inherited, by the tests and by
the processes that they start. A test that depends on one of them passes on one machine and hangs on another, so all are
set here, in each process that runs tests. The environment keeps only what is needed to find programs.
"""

import contextlib
import locale
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest

_KEPT: Final = {"PATH", "LD_LIBRARY_PATH", "TMPDIR", "CI", "TEST_CACHE"}
"""Variables that stay: where programs and their libraries are, where files go, and that this is CI."""

_KEPT_PREFIXES: Final = ("PYTEST_", "COV_", "COVERAGE_", "HYPOTHESIS_")
"""Those of the tools that run the tests, which hand some to their child processes."""

_IGNORED_BY_PYTHON: Final = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python ignores these itself, and gives child processes the default action."""

_started_with: Mapping[str, str] = dict(os.environ)
_capture: Any = None
_HOME = pytest.StashKey[str]()


def started_with() -> dict[str, str]:
    """The environment that the session was started in: for package managers, which need the proxies and settings."""
    return dict(_started_with)


def coverage_settings() -> dict[str, str]:
    """The variables that a child process with an environment of its own needs, to be measured if this process is."""
    return {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}


def say(line: str) -> None:
    """Print a line on the terminal, also where pytest captures output."""
    with _capture.global_and_fixture_disabled() if _capture else contextlib.nullcontext():
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - set-up takes minutes


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand that environment to the processes of pytest-xdist, which inherit what is set here."""
    node.workerinput["started_with"] = started_with()


@pytest.hookimpl(trylast=True)  # pytest itself has then looked at the terminal, as its user wants
def pytest_configure(config: pytest.Config) -> None:
    global _started_with, _capture  # noqa: PLW0603 - they are those of the process
    _capture = config.pluginmanager.getplugin("capturemanager")
    _started_with = getattr(config, "workerinput", {}).get("started_with", _started_with)
    config.stash[_HOME] = tempfile.mkdtemp(prefix="home-")
    _set_environment(config.stash[_HOME])
    _set_signals()
    _open_standard_input()
    os.umask(0o022)
    locale.setlocale(locale.LC_ALL, os.environ["LC_ALL"])
    time.tzset()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undo what the test before has left: commands that serve ignore SIGHUP, and their children inherit that."""
    _heed_signals()


def pytest_unconfigure(config: pytest.Config) -> None:
    if home := config.stash.get(_HOME, None):
        shutil.rmtree(home, ignore_errors=True)


def _set_environment(home: str) -> None:
    kept = {name: text for name, text in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    os.environ.clear()
    os.environ.update({"PATH": os.defpath, "HOME": home, "LC_ALL": "C.UTF-8", "TZ": "UTC", **kept})


def _set_signals() -> None:
    """Give each signal its usual action: `nohup` and background jobs of scripts leave some ignored or blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    _heed_signals()


def _heed_signals() -> None:
    """Ignore no signal but those that Python ignores itself."""
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _open_standard_input() -> None:
    """Make descriptor 0 one that ends at once if it was closed, or the next file to be opened would become it."""
    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)  # the lowest free number: 0
