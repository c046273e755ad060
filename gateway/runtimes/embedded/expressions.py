"""Expressions of flow documents: compiled once, evaluated for each item.

An expression is a JSON value. In any object these names are looked for, in this order, and make it

    {"$literal": value}                        the value as it stands, whatever is in it
    {"$if": condition, "then": a, "else": b}   one branch, without else null; false: null, false, a failed condition
    {"$coalesce": [a, b, ...]}                 the first that is not null, else null; a failed member fails it
    {"$step": id, "path": path}                the output of a step, or a part of it; of a null output null
    {"$input": path}                           the input of the item, or a part of it
    {"$variable": path, "default": a}          a variable, or a part of it; else the default

Other objects and arrays are templates: they hold expressions. A name that starts with `$` and a letter, and is none of
these, is refused, lest a misspelt expression passes as data; `$literal` escapes it. Names that are in use as data need
no escape: those of JSON Schema, and `$blob`, the reference to a blob that component servers exchange.

Evaluating splices texts. It never suspends; steps that have not finished are noted in the scope instead.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gateway.core.errors import InvalidFlow, InvalidParams, Path, Violation
from gateway.core.json_text import MAX_JSON_BYTES, elements, members, quote, string
from gateway.core.model import ItemError, JsonText
from gateway.runtimes.embedded.json_path import WHOLE, JsonPath, parse_path, path_of
from gateway.runtimes.embedded.task import UNDEFINED, UNUSABLE_VALUE, ItemFailure
from gateway.runtimes.embedded.values import NULL, Value

MAX_DEPTH = 100
"""How many levels of objects and arrays an expression may have. What holds no `$` name may nest more deeply."""

DATA_NAMES = frozenset(
    {"$blob", "$schema", "$id", "$ref", "$defs", "$anchor", "$comment", "$vocabulary", "$dynamicRef", "$dynamicAnchor"}
)
"""Names that look like an expression's and are data."""

LEGACY_FROM = (
    "$from is no longer supported; "
    'instead of {"$from": {"step": id}, "path": path} write {"$step": id, "path": path}, '
    'instead of {"$from": {"workflow": "input"}, "path": path} write {"$input": path}; '
    "if it is data, put the object under $literal"
)

_EXPRESSION_NAME = re.compile(r"\$[A-Za-z]")
_NAME_BEGINNINGS = ('"$', '"\\u0024')


class Scope:
    """What the expressions of one item can see.

    `steps` holds the outcome of each step that has finished. `missing` collects the steps that an evaluation could not
    do without: the value tells whether the failure of that step is certain to fail the expression.
    """

    __slots__ = ("_defaults", "_supplied", "_variables", "input", "missing", "steps")

    def __init__(self, text: JsonText, variables: Mapping[str, JsonText], defaults: Mapping[str, JsonText]) -> None:
        """`text` is the input of the item."""
        self.input = Value(text)
        self.steps: dict[str, Value | ItemError] = {}
        self.missing: dict[str, bool] = {}
        self._supplied = variables
        self._defaults = defaults
        self._variables: dict[str, Value] = {}

    def variable(self, name: str) -> Value | None:
        """The value supplied for a variable, else the one that its schema gives; None if there is neither."""
        value = self._variables.get(name)
        if value is None:
            text = self._supplied.get(name)
            if text is None:
                text = self._defaults.get(name)
            if text is None:
                return None
            value = self._variables[name] = Value(text)
        return value


class Node(ABC):
    """A compiled expression, or a part of one."""

    __slots__ = ()

    @abstractmethod
    def evaluate(self, scope: Scope) -> JsonText | None:
        """The value; None if steps are missing, which are then noted in the scope. ItemFailure if there is no value."""


class Constant(Node):
    """A text that is always the same."""

    __slots__ = ("_text",)

    def __init__(self, text: JsonText) -> None:
        self._text = text

    def evaluate(self, scope: Scope) -> JsonText | None:
        return self._text


class Template(Node):
    """Text with holes: the values of other expressions."""

    __slots__ = ("_holes", "_parts")

    def __init__(self, texts: list[str], holes: list[Node]) -> None:
        """`texts` has one more than `holes`: what stands before, between and behind them."""
        self._holes = tuple(holes)
        self._parts = [texts[0]]
        for text in texts[1:]:
            self._parts += ["", text]

    def evaluate(self, scope: Scope) -> JsonText | None:
        # All holes, also behind a missing step: independent steps are to be found in one go.
        values = [hole.evaluate(scope) for hole in self._holes]
        parts = self._parts.copy()
        length = 0
        for place, value in enumerate(values):
            if value is None:
                return None
            length += len(value)
            parts[2 * place + 1] = value
        # A few lines of a flow could double a value a thousand times.
        if length > MAX_JSON_BYTES:
            raise ItemFailure.of(UNUSABLE_VALUE, f"a value exceeds {MAX_JSON_BYTES} characters")
        return "".join(parts)


class InputReference(Node):
    """The input of the item, or a part of it."""

    __slots__ = ("_path",)

    def __init__(self, path: JsonPath) -> None:
        self._path = path

    def evaluate(self, scope: Scope) -> JsonText | None:
        found = self._path.find(scope.input)
        if found is None:
            raise ItemFailure.of(UNDEFINED, f"Input path {self._path.text} not found")
        return found.text


class StepReference(Node):
    """The output of a step, or a part of it."""

    __slots__ = ("_path", "_step_id")

    def __init__(self, step_id: str, path: JsonPath) -> None:
        self._step_id = step_id
        self._path = path

    def evaluate(self, scope: Scope) -> JsonText | None:
        outcome = scope.steps.get(self._step_id)
        if outcome is None:
            scope.missing[self._step_id] = True
            return None
        if isinstance(outcome, ItemError):
            raise ItemFailure(outcome)
        if outcome.text == NULL:
            return NULL
        found = self._path.find(outcome)
        if found is None:
            raise ItemFailure.of(UNDEFINED, f"Path {self._path.text} not found in the output of step '{self._step_id}'")
        return found.text


class VariableReference(Node):
    """A variable, or a part of it; the default, if there is one, when it is not there."""

    __slots__ = ("_default", "_name", "_path")

    def __init__(self, name: str, path: JsonPath, default: Node | None) -> None:
        self._name = name
        self._path = path
        self._default = default

    def evaluate(self, scope: Scope) -> JsonText | None:
        variable = scope.variable(self._name)
        if variable is not None and (found := self._path.find(variable)) is not None:
            return found.text
        if self._default is not None:
            return self._default.evaluate(scope)
        raise ItemFailure.of(UNDEFINED, f"Undefined variable: {self._name}")


class Conditional(Node):
    """One of two branches; the other one is never looked at."""

    __slots__ = ("_condition", "_otherwise", "_then")

    def __init__(self, condition: Node, then: Node, otherwise: Node) -> None:
        self._condition = condition
        self._then = then
        self._otherwise = otherwise

    def evaluate(self, scope: Scope) -> JsonText | None:
        certain, scope.missing = scope.missing, {}
        try:
            condition = self._condition.evaluate(scope)
        except ItemFailure:
            condition = NULL
        guarded, scope.missing = scope.missing, certain
        if condition is None:
            for step_id in guarded:
                scope.missing.setdefault(step_id, False)
            return None
        branch = self._otherwise if condition in {NULL, "false"} else self._then
        return branch.evaluate(scope)


class Coalesce(Node):
    """The first member that is not null; those behind it are never looked at."""

    __slots__ = ("_members",)

    def __init__(self, members: Sequence[Node]) -> None:
        self._members = tuple(members)

    def evaluate(self, scope: Scope) -> JsonText | None:
        for member in self._members:
            value = member.evaluate(scope)
            if value != NULL:
                return value
        return NULL


class Reference(NamedTuple):
    """A step that an expression may need, and where the expression names it."""

    step_id: str
    path: Path


class Expression(NamedTuple):
    """A compiled expression."""

    root: Node
    references: tuple[Reference, ...]

    def evaluate(self, scope: Scope) -> JsonText | None:
        """As `Node.evaluate`."""
        return self.root.evaluate(scope)


def compile_expression(text: JsonText, path: Path) -> Expression:
    """Compile the expression that sits at `path` of a document. InvalidFlow with everything that is wrong in it."""
    compiler = _Compiler()
    root = _node(compiler.parts(text, path, 0))
    if compiler.violations:
        raise InvalidFlow(compiler.violations)
    return Expression(root, tuple(compiler.references))


def _node(parts: list[str | Node]) -> Node:
    """One node for texts and the nodes between them."""
    if len(parts) == 1 and isinstance(parts[0], Node):
        return parts[0]
    texts: list[str] = []
    holes: list[Node] = []
    pending: list[str] = []
    for part in parts:
        if isinstance(part, Node):
            texts.append("".join(pending))
            holes.append(part)
            pending = []
        else:
            pending.append(part)
    texts.append("".join(pending))
    return Template(texts, holes) if holes else Constant(texts[0])


class _Compiler:
    """Compiles one expression, noting what is wrong in it and which steps it names."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.references: list[Reference] = []

    def parts(self, text: JsonText, path: Path, depth: int) -> list[str | Node]:
        """An expression as texts and the nodes between them; a single text if nothing in it needs evaluating."""
        if not any(beginning in text for beginning in _NAME_BEGINNINGS):
            return [text]
        if depth == MAX_DEPTH:
            return self._wrong(path, f"nested in more than {MAX_DEPTH} levels")
        try:
            if text.startswith("["):
                return self._array(elements(text, *path), path, depth)
            if text.startswith("{"):
                return self._object(members(text, *path), path, depth)
        except InvalidParams as error:
            self.violations += error.violations
            return [NULL]
        return [text]

    def _array(self, inner: list[JsonText], path: Path, depth: int) -> list[str | Node]:
        parts: list[str | Node] = ["["]
        for place, element in enumerate(inner):
            parts += ["," if place else "", *self.parts(element, (*path, place), depth + 1)]
        return [*parts, "]"]

    def _object(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        for name, compile_inner in _EXPRESSIONS.items():
            if name in inner:
                return compile_inner(self, inner, path, depth)
        self._refuse_unknown(inner, path)
        parts: list[str | Node] = ["{"]
        for place, (name, member) in enumerate(inner.items()):
            parts += [f"{',' if place else ''}{quote(name)}:", *self.parts(member, (*path, name), depth + 1)]
        return [*parts, "}"]

    def _refuse_unknown(self, inner: Mapping[str, JsonText], path: Path) -> None:
        for name in inner:
            if _EXPRESSION_NAME.match(name) and name not in DATA_NAMES:
                self._wrong((*path, name), f"unknown expression '{name}'; if it is data, put the object under $literal")

    def _literal(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$literal")
        return [inner["$literal"]]

    def _if(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$if", "then", "else")
        if "then" not in inner:
            self._wrong((*path, "then"), "is required by $if")
        condition, then, otherwise = (
            _node(self.parts(inner.get(name, NULL), (*path, name), depth + 1)) for name in ("$if", "then", "else")
        )
        return [Conditional(condition, then, otherwise)]

    def _coalesce(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$coalesce")
        path = (*path, "$coalesce")
        texts = elements(inner["$coalesce"], *path)
        return [Coalesce([_node(self.parts(text, (*path, place), depth + 1)) for place, text in enumerate(texts)])]

    def _from(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        return self._wrong(path, LEGACY_FROM)

    def _step(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$step", "path")
        step_id = string(inner["$step"], *path, "$step")
        inside = self._path(inner.get("path", NULL), (*path, "path"))
        self.references.append(Reference(step_id, path))
        return [StepReference(step_id, inside)]

    def _input(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$input")
        return [InputReference(self._path(inner["$input"], (*path, "$input")))]

    def _variable(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        self._refuse_others(inner, path, "$variable", "default")
        name, *keys = self._path(inner["$variable"], (*path, "$variable")).keys or (0,)
        default = self.parts(inner.get("default", NULL), (*path, "default"), depth + 1)
        if not isinstance(name, str):
            return self._wrong((*path, "$variable"), "expected the name of a variable, or a path that begins with one")
        return [VariableReference(name, path_of(keys), _node(default) if "default" in inner else None)]

    def _path(self, text: JsonText, path: Path) -> JsonPath:
        if text == NULL:
            return WHOLE
        try:
            return parse_path(string(text, *path))
        except ValueError as error:
            raise InvalidParams.field(*path, description=str(error)) from None

    def _refuse_others(self, inner: Mapping[str, JsonText], path: Path, *names: str) -> None:
        for name in inner:
            if name not in names:
                self._wrong((*path, name), f"not a member of a {names[0]} expression")

    def _wrong(self, path: Path, description: str) -> list[str | Node]:
        self.violations.append(Violation(path, description))
        return [NULL]


_EXPRESSIONS: Mapping[str, Callable[[_Compiler, Mapping[str, JsonText], Path, int], list[str | Node]]] = {
    "$literal": _Compiler._literal,
    "$if": _Compiler._if,
    "$coalesce": _Compiler._coalesce,
    "$from": _Compiler._from,
    "$step": _Compiler._step,
    "$input": _Compiler._input,
    "$variable": _Compiler._variable,
}
