"""Reads flags that are given as NAME=VALUE."""

from collections.abc import Iterable

from gateway.cli.errors import CommandError, ExitCode


def assignments(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """Return the values by their names. Raises CommandError if a text is not NAME=VALUE, or a name is given twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"{flag}: expected NAME=VALUE, got {text!r}", ExitCode.USAGE)
        if name in pairs:
            raise CommandError(f"{flag}: {name!r} is given twice; leave one out", ExitCode.USAGE)
        pairs[name] = value
    return pairs
