"""Flow documents: checked and compiled once, executed many times.

    {"name"?, "schemas"?, "steps"?: [step...], "output"?: expression}
    step: {"id", "component", "input"?: expression, "onError"?, "mustExecute"?}
    onError: {"action": "fail"} | {"action": "useDefault", "defaultValue"?} | {"action": "retry", "maxRetries"? = 3}

An absent output or input is null, and members that are null count as absent. Other members are for other tools and are
ignored. Of the schemas, only the defaults of variables are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from gateway.core.errors import InvalidFlow, InvalidParams, Path, Violation
from gateway.core.json_text import boolean, elements, integer, members, string
from gateway.core.model import JsonText
from gateway.runtimes.embedded.expression_compiler import compile_expression
from gateway.runtimes.embedded.expressions import Constant, Expression
from gateway.runtimes.embedded.overrides import parse_overrides
from gateway.runtimes.embedded.values import NULL, write_array

DEFAULT_RETRIES = 3
"""How often a step with the action `retry` is retried if it has no `maxRetries`."""

MAX_RETRIES = 2**32 - 1
"""The largest `maxRetries`."""

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


@dataclass(frozen=True, slots=True)
class Step:
    """A compiled step."""

    id: str
    component: str
    input: Expression
    on_error: OnError
    must_execute: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """A compiled flow; the same one serves any number of runs at the same time.

    `steps` are in the order of the document, by id. `defaults` are the values of variables that are not supplied.
    `forced` are the steps that execute even if the output does not need them; `reach` holds these and all steps that
    they may need.
    """

    name: str | None
    steps: Mapping[str, Step]
    output: Expression
    defaults: Mapping[str, JsonText]
    forced: tuple[str, ...]
    reach: frozenset[str]
    document: Mapping[str, JsonText]

    def components(self) -> list[tuple[Path, str]]:
        """The component of each step, with its path in the document."""
        return [(("steps", index, "component"), step.component) for index, step in enumerate(self.steps.values())]

    def with_overrides(self, overrides: JsonText) -> "Flow":
        """Return the flow with some steps changed.

        Raises InvalidParams, with paths under `overrides`, if the result is not a valid flow.
        """
        patches = parse_overrides(overrides)
        texts = elements(self.document["steps"]) if self.steps else []
        origins: list[Path] = []
        for index, step_id in enumerate(self.steps):
            patch = patches.get(step_id)
            origins.append(patch.path if patch else ("steps", index))
            if patch:
                texts[index] = patch.apply(step_id, texts[index])
        try:
            return _FlowCompiler().flow({**self.document, "steps": write_array(texts)})
        except InvalidFlow as error:
            raise InvalidParams([Violation(_moved(path, origins), text) for path, text in error.violations]) from error


def _moved(path: Path, origins: Sequence[Path]) -> Path:
    """The path in the parameters for a violation at `path` of the changed document."""
    match path:
        case ("steps", int(index), *rest):
            return (*origins[index], *rest)
    return path


def compile_flow(text: JsonText) -> Flow:
    """Compile a flow document. Raises InvalidFlow, with all violations, if it is invalid."""
    try:
        document = members(text)
    except InvalidParams as error:
        raise InvalidFlow(error.violations) from None
    if not {"steps", "output"} & document.keys():
        raise InvalidFlow([Violation((), "not a flow: it has neither 'steps' nor 'output'")])
    return _FlowCompiler().flow(document)


class _Read(Protocol[_T_co]):
    """A function of `gateway.core.json_text`."""

    def __call__(self, text: JsonText, *path: str | int) -> _T_co: ...


class _FlowCompiler:
    """Compiles one document, and collects its violations."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._ids: frozenset[str] = frozenset()
        self._steps: dict[str, Step] = {}

    def flow(self, document: Mapping[str, JsonText]) -> Flow:
        name = self._optional(string, document, "name", ())
        defaults = self._defaults(document)
        self._compile_steps(self._optional(elements, document, "steps", ()) or [])
        output = self._expression(document.get("output", NULL), ("output",))
        if self._violations:
            raise InvalidFlow(self._violations)
        forced = tuple(step.id for step in self._steps.values() if step.must_execute)
        return Flow(name, self._steps, output, defaults, forced, _reach(self._steps, forced), document)

    def _compile_steps(self, texts: list[JsonText]) -> None:
        steps = [self._read(members, step, ("steps", index)) or {} for index, step in enumerate(texts)]
        ids = [self._required(step, "id", ("steps", index)) for index, step in enumerate(steps)]
        self._ids = frozenset(ids)
        for index, (step_id, step) in enumerate(zip(ids, steps, strict=True)):
            self._compile_step(step_id, step, ("steps", index))

    def _compile_step(self, step_id: str, step: Mapping[str, JsonText], path: Path) -> None:
        component = self._required(step, "component", path)
        if component and not component.startswith("/"):
            self._wrong((*path, "component"), "the name of a component begins with '/'")
        expression = self._expression(step.get("input", NULL), (*path, "input"))
        on_error = self._on_error(self._optional(members, step, "onError", path), (*path, "onError"))
        must_execute = self._optional(boolean, step, "mustExecute", path) or False
        if step_id in self._steps:
            self._wrong((*path, "id"), f"another step has the id '{step_id}', too")
        elif step_id:
            self._steps[step_id] = Step(step_id, component, expression, on_error, must_execute)

    def _expression(self, text: JsonText, path: Path) -> Expression:
        """Compile an expression, which may refer to the steps that have been compiled so far."""
        try:
            expression = compile_expression(text, path)
        except InvalidFlow as error:
            self._violations += error.violations
            return Expression(Constant(NULL), ())
        for step_id, location in expression.references:
            if step_id not in self._steps:
                reason = "does not come before this one" if step_id in self._ids else "does not exist"
                self._wrong(location, f"refers to step '{step_id}', which {reason}")
        return expression

    def _on_error(self, action: Mapping[str, JsonText] | None, path: Path) -> OnError:
        if action is None:
            return OnError()
        match self._required(action, "action", path):
            case "fail":
                return OnError()
            case "useDefault":
                return OnError(default=action.get("defaultValue", NULL))
            case "retry":
                return OnError(retries=self._retries(action, path))
            case name:
                if name:
                    self._wrong((*path, "action"), "expected 'fail', 'useDefault' or 'retry'")
                return OnError()

    def _retries(self, action: Mapping[str, JsonText], path: Path) -> int:
        retries = self._optional(integer, action, "maxRetries", path)
        if retries is None:
            return DEFAULT_RETRIES
        if not 0 <= retries <= MAX_RETRIES:
            self._wrong((*path, "maxRetries"), f"expected an integer from 0 to {MAX_RETRIES}")
        return retries

    def _defaults(self, document: Mapping[str, JsonText]) -> dict[str, JsonText]:
        """The values of variables that are not supplied, by name."""
        path: Path = ()
        schema = document
        for name in ("schemas", "properties", "variables"):
            schema = self._schema(schema, name, path)
            path = (*path, name)
        required = self._strings(schema, "required", path)
        variables = self._schema(schema, "properties", path)
        path = (*path, "properties")
        defaults = {}
        for name in variables:
            variable = self._schema(variables, name, path)
            default = variable.get("default")
            if default is None and name not in required:
                default = self._implied_default(variable, (*path, name))
            if default is not None:
                defaults[name] = default
        return defaults

    def _implied_default(self, variable: Mapping[str, JsonText], path: Path) -> JsonText | None:
        if variable.get("type", NULL).startswith("["):
            return NULL if "null" in self._strings(variable, "type", path) else None
        return _IMPLIED_DEFAULTS.get(self._optional(string, variable, "type", path) or "")

    def _schema(self, schemas: Mapping[str, JsonText], name: str, path: Path) -> Mapping[str, JsonText]:
        """The members of a schema. A schema may also be true or false, which have none."""
        boolean_schema = schemas.get(name) in {"true", "false"}
        return {} if boolean_schema else self._optional(members, schemas, name, path) or {}

    def _strings(self, inside: Mapping[str, JsonText], name: str, path: Path) -> list[str | None]:
        texts = self._optional(elements, inside, name, path) or []
        return [self._read(string, text, (*path, name, index)) for index, text in enumerate(texts)]

    def _required(self, inside: Mapping[str, JsonText], name: str, path: Path) -> str:
        """Return a member that is a non-empty string; if it is invalid, note the violation and return ""."""
        characters = self._read(string, inside.get(name, '""'), (*path, name))
        if characters == "":
            self._wrong((*path, name), "is required")
        return characters or ""

    def _optional(self, read: _Read[_T], inside: Mapping[str, JsonText], name: str, path: Path) -> _T | None:
        """Return a member; None if it is absent, null or invalid. A violation is noted."""
        text = inside.get(name, NULL)
        return None if text == NULL else self._read(read, text, (*path, name))

    def _read(self, read: _Read[_T], text: JsonText, path: Path) -> _T | None:
        try:
            return read(text, *path)
        except InvalidParams as error:
            self._violations += error.violations
            return None

    def _wrong(self, path: Path, description: str) -> None:
        self._violations.append(Violation(path, description))


def _reach(steps: Mapping[str, Step], forced: Sequence[str]) -> frozenset[str]:
    """The forced steps and all that they may need. Steps refer to earlier ones only, so one pass finds them."""
    reach = set(forced)
    for step in reversed([*steps.values()]):
        if step.id in reach:
            reach.update(step_id for step_id, _ in step.input.references)
    return frozenset(reach)
