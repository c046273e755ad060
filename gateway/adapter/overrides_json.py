"""The two forms of overrides: `{"steps": {step id: override}}`, and the same without this level."""

from gateway.adapter.json_members import write_object
from gateway.core.json_text import members
from gateway.core.model import JsonText


def divided_overrides(text: JsonText) -> tuple[JsonText, JsonText | None]:
    """Overrides, and the text below the level `steps`; None if they do not have it.

    A null counts as absent, and is left out of the overrides.
    """
    given = members(text, "overrides")
    steps = given.pop("steps", None)
    if steps == "null":
        return write_object((), given), None
    return text, steps
