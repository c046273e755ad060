"""Numbers of things, in words for people."""


def counted(number: float, thing: str) -> str:
    """A number and what it counts, in the plural unless it is one: `1 second`, `1.5 seconds`."""
    text = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{text} {thing}" if number == 1 else f"{text} {thing}s"
