"""Reads flags that are given as a name, an equals sign and a value."""

from collections.abc import Iterable

from gateway.cli.errors import UsageError


def assignments(flag: str, form: str, texts: Iterable[str]) -> dict[str, str]:
    """Return the values by their names. `form` is what the help shows after the flag, for instance NAME=VALUE.

    Raises UsageError if a text does not have this form, or if a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{flag}: expected {form}, got {text!r}")
        if name in pairs:
            raise UsageError(f"{flag}: {name!r} is given twice; leave one out")
        pairs[name] = value
    return pairs
