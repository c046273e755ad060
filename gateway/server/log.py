"""The log of a server process, on standard error."""

import logging


def log_to_stderr(form: str) -> None:
    """Let the log go to standard error, with warnings and above until `set_log_level`."""
    logging.basicConfig(format=form)


def set_log_level(level: str) -> None:
    """Let the log have messages of a level and above. What libraries say about their own work is left to `debug`."""
    logging.getLogger().setLevel(logging.WARNING if level == "info" else level.upper())
    logging.getLogger("gateway").setLevel(level.upper())
