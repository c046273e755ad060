"""Expressions of flow documents: compiled once, evaluated for each item.

An expression is a JSON value. An object with one of these names, looked for in this order, is

    {"$literal": value}                        the value as it stands; nothing in it is evaluated
    {"$if": condition, "then": a, "else": b}   one branch; null, false and a failed condition choose else
    {"$coalesce": [a, b, ...]}                 the first member that is not null, else null; a failed member fails it
    {"$step": id, "path": path}                the output of a step, or a part of it; any part of null is null
    {"$input": path}                           the input of the item, or a part of it
    {"$variable": path, "default": a}          a variable, or a part of it; else the default

Other objects and arrays are templates: they hold expressions. Any other name that starts with `$` and a letter is
refused, so that a misspelt expression does not pass as data; `$literal` escapes it. Names that are in use as data need
no escape: those of JSON Schema, and `$blob`, the reference to a blob that component servers exchange.

Evaluating splices texts. It never suspends; steps that have not finished are noted in the scope instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.core.errors import Path
from gateway.core.json_text import MAX_JSON_BYTES
from gateway.core.model import ItemError, JsonText
from gateway.runtimes.embedded.json_path import JsonPath
from gateway.runtimes.embedded.task import UNDEFINED, UNUSABLE_VALUE, ItemFailure
from gateway.runtimes.embedded.values import NULL, Value


class Scope:
    """The values that the expressions of one item can refer to.

    `steps` holds the outcome of each step that has finished. `missing` collects the unfinished steps that an evaluation
    needs: the value is True if the failure of the step is certain to fail the expression.
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
        """The supplied value of a variable, else the default of its schema; None if it has neither."""
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
        """Return the value, or None if steps are missing, which are then noted in the scope.

        Raises ItemFailure if the expression has no value.
        """


class Constant(Node):
    """A text without references."""

    __slots__ = ("_text",)

    def __init__(self, text: JsonText) -> None:
        self._text = text

    def evaluate(self, scope: Scope) -> JsonText | None:
        return self._text


class Template(Node):
    """Text with holes: the values of other expressions."""

    __slots__ = ("_holes", "_parts")

    def __init__(self, texts: list[str], holes: list[Node]) -> None:
        """`texts` are those before, between and behind the holes: one more than these."""
        self._holes = tuple(holes)
        self._parts = [texts[0]]
        for text in texts[1:]:
            self._parts += ["", text]

    def evaluate(self, scope: Scope) -> JsonText | None:
        # All holes, also those behind a missing step: one pass finds all steps that can run concurrently.
        values = [hole.evaluate(scope) for hole in self._holes]
        parts = self._parts.copy()
        length = 0
        for index, value in enumerate(values):
            if value is None:
                return None
            length += len(value)
            parts[2 * index + 1] = value
        # A short flow can double a value a thousand times.
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
    """A variable, or a part of it; if that is absent, the default."""

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
    """One of two branches; the other one is not evaluated."""

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
    """The first member that is not null; those behind it are not evaluated."""

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
    """A step that an expression may need, and the path in the document at which the expression names it."""

    step_id: str
    path: Path


class Expression(NamedTuple):
    """A compiled expression."""

    root: Node
    references: tuple[Reference, ...]

    def evaluate(self, scope: Scope) -> JsonText | None:
        """As `Node.evaluate`."""
        return self.root.evaluate(scope)
