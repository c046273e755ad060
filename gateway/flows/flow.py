"""Flow documents: checked and compiled once, executed many times.

    {"name"?, "schemas"?, "steps"?: [step...], "output"?: expression}
    step: {"id", "component", "input"?: expression, "onError"?, "mustExecute"?}
    onError: {"action": "fail"} | {"action": "useDefault", "defaultValue"?} | {"action": "retry", "maxRetries"? = 3}

An absent output or input is null, and members that are null count as absent. Other members are for other tools and are
ignored. Of the schemas, only the defaults of variables are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from gateway.core.errors import InvalidFlow, InvalidParams, Path, TooLarge, Violation, shortened
from gateway.core.json_layout import Part, Steps
from gateway.core.json_text import MAX_JSON_BYTES, boolean, integer, limit_text, string
from gateway.core.model import JsonText
from gateway.flows.expression_compiler import (
    EarlierSteps,
    ExpressionCompiler,
    TooManyViolations,
    Violations,
    document_part,
)
from gateway.flows.expressions import Constant, Expression
from gateway.flows.overrides import parse_overrides
from gateway.flows.parts import begins_with, elements, length_of, members, text_of
from gateway.flows.values import NULL, write_array

DEFAULT_RETRIES = 3
"""How often a step with the action `retry` is retried if it has no `maxRetries`."""

MAX_RETRIES = 2**32 - 1
"""The largest `maxRetries`."""

_STEP: Final = 64
"""How many steps of a flow, or other small things, a step of the work looks at."""

_CHARACTER_BYTES, _NODE_BYTES, _STEP_BYTES = 2, 250, 500
"""About how much memory a character of the document, a node of an expression and a step of the flow take."""

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

_IMPLIED_DEFAULTS: Mapping[str, JsonText] = {
    "string": '""',
    "number": "0",
    "integer": "0",
    "boolean": "false",
    "null": NULL,
}
"""The defaults of optional variables that have a type but no default, by type."""


class OnError(NamedTuple):
    """The reaction to the failure of a step: up to `retries` more attempts, then `default`; None fails the step."""

    retries: int = 0
    default: JsonText | None = None


_NEVER = OnError()
_NULL = Expression(Constant(NULL))
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """A compiled step."""

    id: str
    component: str
    input: Expression
    on_error: OnError
    must_execute: bool


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Flow:
    """A compiled flow; the same one serves any number of runs at the same time.

    `steps` are in the order of the document, by id. `defaults` are the values of variables that are not supplied.
    `forced` are the steps that execute even if the output does not need them; `reach` holds these and all steps that
    they may need. `components` has the index of the first step with each component. `size` is about how many bytes of
    memory the flow takes.
    """

    name: str | None
    steps: Mapping[str, Step]
    output: Expression
    defaults: Mapping[str, JsonText]
    forced: tuple[str, ...]
    reach: frozenset[str]
    components: Mapping[str, int]
    document: Mapping[str, Part]
    size: int

    @property
    def length(self) -> int:
        """About how many characters the document has."""
        return sum(map(length_of, self.document.values()))

    def with_overrides(self, overrides: JsonText, max_bytes: int = MAX_JSON_BYTES) -> Steps["Flow"]:
        """Return the flow with some steps changed.

        Raises InvalidParams, with paths under `overrides`, if the result is not a valid flow, and TooLarge if it has
        more than `max_bytes`.
        """
        patches = yield from parse_overrides(overrides)
        parts = (yield from elements(self.document["steps"])) if self.steps else []
        origins: list[Path] = []
        for index, step_id in enumerate(self.steps):
            patch = patches.get(step_id)
            origins.append(patch.path if patch else ("steps", index))
            if patch:
                parts[index] = yield from patch.apply(step_id, parts[index])
            if index % _STEP == _STEP - 1:
                yield
        steps = write_array(map(text_of, parts))
        others = sum(length_of(part) for name, part in self.document.items() if name != "steps")
        if len(steps) + others > max_bytes:
            raise TooLarge(f"overrides: the flow with them has more than {limit_text(max_bytes)}")
        try:
            changed = {**self.document, "steps": (yield from document_part(steps))}
            return (yield from _FlowCompiler().flow(changed))
        except InvalidFlow as error:
            moved = [Violation(_moved(path, origins), text) for path, text in error.violations]
            raise InvalidParams(moved, rest=error.rest) from error


def _moved(path: Path, origins: Sequence[Path]) -> Path:
    """The path in the parameters for a violation at `path` of the changed document."""
    match path:
        case ("steps", int(index), *rest):
            return (*origins[index], *rest)
    return path


def compile_flow(text: JsonText) -> Steps[Flow]:
    """Compile a flow document. Raises InvalidFlow, with its violations, if it is invalid."""
    try:
        document = yield from members((yield from document_part(text)))
    except InvalidParams as error:
        raise InvalidFlow(error.violations) from None
    if not {"steps", "output"} & document.keys():
        raise InvalidFlow([Violation((), "not a flow: it has neither 'steps' nor 'output'")])
    return (yield from _FlowCompiler().flow(document))


class _Read(Protocol[_T_co]):
    """A function of `gateway.core.json_text`."""

    def __call__(self, text: JsonText, *path: str | int) -> _T_co: ...


class _ReadPart(Protocol[_T_co]):
    """A function of `gateway.flows.parts`."""

    def __call__(self, part: Part, *path: str | int) -> Steps[_T_co]: ...


class _FlowCompiler:
    """Compiles one document, and collects its violations."""

    def __init__(self) -> None:
        self._violations = Violations()
        self._earlier = EarlierSteps()
        self._expressions = ExpressionCompiler(self._violations, self._earlier)
        self._steps: dict[str, Step] = self._earlier.earlier

    def flow(self, document: Mapping[str, Part]) -> Steps[Flow]:
        """Compile a document. Raises InvalidFlow, with its violations, if it is invalid."""
        try:
            flow = yield from self._flow(document)
        except TooManyViolations:
            self._violations.refuse()
            raise
        self._violations.refuse()
        return flow

    def _flow(self, document: Mapping[str, Part]) -> Steps[Flow]:
        name = self._optional(string, document, "name", ())
        defaults = yield from self._defaults(document)
        if document.get("steps", NULL) != NULL:
            yield from self._compile_steps((yield from self._read_part(elements, document["steps"], ("steps",))) or [])
        output = yield from self._expressions.compile(document.get("output", NULL), ("output",))
        components: dict[str, int] = {}
        forced: list[str] = []
        for index, step in enumerate(self._steps.values()):
            components.setdefault(step.component, index)
            if step.must_execute:
                forced.append(step.id)
            if index % _STEP == _STEP - 1:
                yield
        reach = (yield from _reach(self._steps, forced)) if forced else _NOTHING
        size = sum(len(name) + length_of(part) for name, part in document.items())
        size = _CHARACTER_BYTES * size + _NODE_BYTES * self._expressions.size + _STEP_BYTES * len(self._steps)
        return Flow(name, self._steps, output, defaults, tuple(forced), reach, components, document, size)

    def _compile_steps(self, parts: Sequence[Part]) -> Steps[None]:
        steps: list[dict[str, Part]] = []
        ids: list[str] = []
        for index, part in enumerate(parts):
            steps.append((yield from self._read_part(members, part, ("steps", index))) or {})
            ids.append(self._required(steps[-1], "id", ("steps", index)))
            if index % _STEP == _STEP - 1:
                yield
        self._earlier.ids = frozenset(ids)
        for index, (step_id, step) in enumerate(zip(ids, steps, strict=True)):
            yield from self._compile_step(step_id, step, ("steps", index))
            if index % _STEP == _STEP - 1:
                yield

    def _compile_step(self, step_id: str, step: Mapping[str, Part], path: Path) -> Steps[None]:
        component = self._required(step, "component", path)
        if component and not component.startswith("/"):
            self._violations.add((*path, "component"), "the name of a component begins with '/'")
        given = step.get("input")
        expression = _NULL if given is None else (yield from self._expressions.compile(given, (*path, "input")))
        on_error = _NEVER
        if step.get("onError", NULL) != NULL:
            action = yield from self._optional_part(members, step, "onError", path)
            on_error = self._on_error(action, (*path, "onError"))
        must_execute = self._optional(boolean, step, "mustExecute", path) or False
        if step_id in self._steps:
            self._violations.add((*path, "id"), f"another step has the id '{shortened(step_id)}', too")
        elif step_id:
            self._steps[step_id] = Step(step_id, component, expression, on_error, must_execute)

    def _on_error(self, action: Mapping[str, Part] | None, path: Path) -> OnError:
        if action is None:
            return _NEVER
        match self._required(action, "action", path):
            case "fail":
                return _NEVER
            case "useDefault":
                return OnError(default=text_of(action.get("defaultValue", NULL)))
            case "retry":
                return OnError(retries=self._retries(action, path))
            case name:
                if name:
                    self._violations.add((*path, "action"), "expected 'fail', 'useDefault' or 'retry'")
                return _NEVER

    def _retries(self, action: Mapping[str, Part], path: Path) -> int:
        retries = self._optional(integer, action, "maxRetries", path)
        if retries is None:
            return DEFAULT_RETRIES
        if not 0 <= retries <= MAX_RETRIES:
            self._violations.add((*path, "maxRetries"), f"expected an integer from 0 to {MAX_RETRIES}")
        return retries

    def _defaults(self, document: Mapping[str, Part]) -> Steps[dict[str, JsonText]]:
        """The values of variables that are not supplied, by name."""
        if "schemas" not in document:
            return {}
        path: Path = ()
        schema = document
        for name in ("schemas", "properties", "variables"):
            schema = yield from self._schema(schema, name, path)
            path = (*path, name)
        required = yield from self._strings(schema, "required", path)
        variables = yield from self._schema(schema, "properties", path)
        path = (*path, "properties")
        defaults = {}
        for number, name in enumerate(variables):
            variable = yield from self._schema(variables, name, path)
            default = variable.get("default")
            if default is None and name not in required:
                default = yield from self._implied_default(variable, (*path, name))
            if default is not None:
                defaults[name] = text_of(default)
            if number % _STEP == _STEP - 1:
                yield
        return defaults

    def _implied_default(self, variable: Mapping[str, Part], path: Path) -> Steps[JsonText | None]:
        if begins_with(variable.get("type", NULL), "["):
            return NULL if "null" in (yield from self._strings(variable, "type", path)) else None
        return _IMPLIED_DEFAULTS.get(self._optional(string, variable, "type", path) or "")

    def _schema(self, schemas: Mapping[str, Part], name: str, path: Path) -> Steps[Mapping[str, Part]]:
        """The members of a schema. A schema may also be true or false, which have none."""
        boolean_schema = schemas.get(name) in {"true", "false"}
        return {} if boolean_schema else (yield from self._optional_part(members, schemas, name, path)) or {}

    def _strings(self, inside: Mapping[str, Part], name: str, path: Path) -> Steps[set[str | None]]:
        strings = set()
        for index, part in enumerate((yield from self._optional_part(elements, inside, name, path)) or []):
            strings.add(self._read(string, part, (*path, name, index)))
            if index % _STEP == _STEP - 1:
                yield
        return strings

    def _required(self, inside: Mapping[str, Part], name: str, path: Path) -> str:
        """Return a member that is a non-empty string; if it is invalid, note the violation and return ""."""
        characters = self._read(string, inside.get(name, '""'), (*path, name))
        if characters == "":
            self._violations.add((*path, name), "must not be empty" if name in inside else "is required")
        return characters or ""

    def _optional(self, read: _Read[_T], inside: Mapping[str, Part], name: str, path: Path) -> _T | None:
        """Return a member; None if it is absent, null or invalid. A violation is noted."""
        part = inside.get(name, NULL)
        return None if part == NULL else self._read(read, part, (*path, name))

    def _optional_part(
        self, read: _ReadPart[_T], inside: Mapping[str, Part], name: str, path: Path
    ) -> Steps[_T | None]:
        """As `_optional`, for a member that may be long."""
        part = inside.get(name, NULL)
        return None if part == NULL else (yield from self._read_part(read, part, (*path, name)))

    def _read(self, read: _Read[_T], part: Part, path: Path) -> _T | None:
        try:
            return read(text_of(part), *path)
        except InvalidParams as error:
            self._violations.add_all(error)
            return None

    def _read_part(self, read: _ReadPart[_T], part: Part, path: Path) -> Steps[_T | None]:
        try:
            return (yield from read(part, *path))
        except InvalidParams as error:
            self._violations.add_all(error)
            return None


def _reach(steps: Mapping[str, Step], forced: Sequence[str]) -> Steps[frozenset[str]]:
    """The forced steps and all that they may need. Steps refer to earlier ones only, so one pass finds them."""
    reach = set(forced)
    for index, step in enumerate(reversed([*steps.values()])):
        if step.id in reach:
            reach.update(step.input.references)
        if index % _STEP == _STEP - 1:
            yield
    return frozenset(reach)
