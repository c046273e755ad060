"""Overrides: changes to single steps of a flow, for one run.

Each is `{"$type"?: "merge_patch", "value": patch}`, and the patch is applied to the whole step as RFC 7396 says. They
are written `{"steps": {step id: override}}` or flat, `{step id: override}`; a member `steps` tells the forms apart. An
override for a step that the flow does not have is ignored.
"""

from typing import NamedTuple

from gateway.core.errors import InvalidParams, Path, Violation
from gateway.core.json_text import members, object_text, quote
from gateway.core.model import JsonText
from gateway.runtimes.embedded.values import NULL, write_object

MAX_DEPTH = 100
"""How many levels of objects a patch may have."""

MERGE_PATCH = "merge_patch"


class Patch(NamedTuple):
    """A change to one step, and its path in the parameters."""

    path: Path
    text: JsonText

    def apply(self, step_id: str, step: JsonText) -> JsonText:
        """Return the changed step. Raises InvalidParams if the patch changes the id or nests too deeply."""
        if members(self.text, *self.path).get("id", quote(step_id)) != quote(step_id):
            raise InvalidParams.field(*self.path, "id", description="the id of a step cannot be overridden")
        return _merged(step, self.text, self.path, 0)


def parse_overrides(text: JsonText) -> dict[str, Patch]:
    """Return the patches by step id. Raises InvalidParams, with all violations, if one is invalid."""
    if text == NULL:
        return {}
    path: Path = ("overrides",)
    violations: list[Violation] = []
    overrides = members(text, *path)
    if "steps" in overrides:
        violations += [Violation((*path, name), "stands beside 'steps'") for name in overrides if name != "steps"]
        path = (*path, "steps")
        overrides = members(overrides["steps"], *path)
    patches = {}
    for step_id, override in overrides.items():
        try:
            patches[step_id] = _patch(override, (*path, step_id))
        except InvalidParams as error:
            violations += error.violations
    if violations:
        raise InvalidParams(violations)
    return patches


def _patch(text: JsonText, path: Path) -> Patch:
    override = members(text, *path)
    if override.get("$type", NULL) not in {NULL, quote(MERGE_PATCH)}:
        raise InvalidParams.field(*path, "$type", description=f"only '{MERGE_PATCH}' is supported")
    if "value" not in override:
        raise InvalidParams.field(*path, "value", description="is required")
    path = (*path, "value")
    return Patch(path, object_text(override["value"], *path))


def _merged(target: JsonText, patch: JsonText, path: Path, depth: int) -> JsonText:
    if not patch.startswith("{"):
        return patch
    if depth == MAX_DEPTH:
        raise InvalidParams.field(*path, description=f"nested in more than {MAX_DEPTH} levels")
    merged = members(target) if target.startswith("{") else {}
    for name, change in members(patch, *path).items():
        if change == NULL:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name, NULL), change, (*path, name), depth + 1)
    return write_object(merged)
