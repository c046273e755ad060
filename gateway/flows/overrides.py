"""Overrides: changes to single steps of a flow, for one run.

Each is `{"$type"?: "merge_patch", "value": patch}`, and the patch is applied to the whole step as RFC 7396 says. They
are written `{"steps": {step id: override}}` or flat, `{step id: override}`; a member `steps` tells the forms apart, and
counts as absent if it is null. An override for a step that the flow does not have is ignored.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.core.errors import MAX_VIOLATIONS, MORE_VIOLATIONS, InvalidParams, Path, Violation
from gateway.core.json_layout import Part, Steps
from gateway.core.json_text import quote
from gateway.core.model import JsonText
from gateway.flows.parts import begins_with, members, part_of, text_of
from gateway.flows.values import NULL

MAX_DEPTH = 100
"""How many levels of objects a patch may have."""

MERGE_PATCH = "merge_patch"

_STEP: Final = 128
"""How many overrides or members a step looks at."""


class Patch(NamedTuple):
    """A change to one step, and its path in the parameters."""

    path: Path
    value: Part

    def apply(self, step_id: str, step: Part) -> Steps[JsonText]:
        """Return the changed step. Raises InvalidParams if the patch changes the id or nests too deeply."""
        changes = yield from members(self.value, *self.path)
        if changes.get("id", quote(step_id)) != quote(step_id):
            raise InvalidParams.field(*self.path, "id", description="the id of a step cannot be overridden")
        pieces: list[JsonText] = []
        yield from _merge(step, self.value, self.path, 0, pieces)
        return "".join(pieces)


def parse_overrides(text: JsonText) -> Steps[dict[str, Patch]]:
    """Return the patches by step id. Raises InvalidParams, with its violations, if one is invalid."""
    if text == NULL:
        return {}
    path: Path = ("overrides",)
    overrides = yield from members((yield from part_of(text)), *path)
    if overrides.get("steps") == NULL:
        del overrides["steps"]
    if "steps" in overrides:
        beside = [Violation((*path, name), "stands beside 'steps'") for name in overrides if name != "steps"]
        if beside:
            raise InvalidParams(beside)
        path = (*path, "steps")
        overrides = yield from members(overrides["steps"], *path)
    return (yield from _patches(overrides, path))


def _patches(overrides: Mapping[str, Part], path: Path) -> Steps[dict[str, Patch]]:
    patches = {}
    violations: list[Violation] = []
    for number, (step_id, override) in enumerate(overrides.items()):
        try:
            patches[step_id] = yield from _patch(override, (*path, step_id))
        except InvalidParams as error:
            violations += error.violations
            if len(violations) > MAX_VIOLATIONS:
                raise InvalidParams(violations, rest=MORE_VIOLATIONS) from None
        if number % _STEP == _STEP - 1:
            yield
    if violations:
        raise InvalidParams(violations)
    return patches


def _patch(part: Part, path: Path) -> Steps[Patch]:
    override = yield from members(part, *path)
    if override.get("$type", NULL) not in {NULL, quote(MERGE_PATCH)}:
        raise InvalidParams.field(*path, "$type", description=f"only '{MERGE_PATCH}' is supported")
    if "value" not in override:
        raise InvalidParams.field(*path, "value", description="is required")
    path = (*path, "value")
    if not begins_with(override["value"], "{"):
        raise InvalidParams.field(*path, description="expected an object")
    return Patch(path, override["value"])


def _merge(target: Part, patch: Part, path: Path, depth: int, out: list[JsonText]) -> Steps[None]:
    """Append the changed target, in pieces: what is inside another is not put together by itself."""
    if not begins_with(patch, "{"):
        out.append(text_of(patch))
        return
    if depth == MAX_DEPTH:
        raise InvalidParams.field(*path, description=f"nested in more than {MAX_DEPTH} levels")
    merged = (yield from members(target)) if begins_with(target, "{") else {}
    changes = yield from members(patch, *path)
    separator = "{"
    for number, name in enumerate({**merged, **changes}):
        change = changes.get(name)
        if change == NULL:
            continue
        out.append(f"{separator}{quote(name)}:")
        separator = ","
        if change is None:
            out.append(text_of(merged[name]))
        else:
            yield from _merge(merged.get(name, NULL), change, (*path, name), depth + 1, out)
        if number % _STEP == _STEP - 1:
            yield
    out.append("}" if separator == "," else "{}")
