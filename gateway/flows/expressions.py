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

Evaluating splices texts, in one pass over the expression: what is inside another is not put together by itself. It
never suspends. Steps that have not finished, and parts of long values that are to be looked up, are noted in the scope
instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from msgspec import Struct, field

from gateway.core.errors import shortened
from gateway.core.json_layout import Steps
from gateway.core.json_text import MAX_JSON_BYTES
from gateway.core.model import ItemError, JsonText
from gateway.flows.json_path import JsonPath
from gateway.flows.look_up import PathKeys
from gateway.flows.task import UNDEFINED, UNUSABLE_VALUE, ItemFailure
from gateway.flows.values import NULL, NotLookedUp, Value

MAX_AT_ONCE: Final = 1 << 20
"""Values that are put together at once have so many characters at most."""

_STEP: Final = 256
"""How many references a step of an evaluation evaluates."""


class TooLongAtOnce(Exception):
    """A value is too long to be put together at once: it is to be put together in steps."""


class Scope(Struct, eq=False):
    """The values that the expressions of one item can refer to: its input, the variables that were supplied and the
    defaults of others, and the outcomes of steps.

    `steps` holds the outcome of each step that has finished. `missing` collects the unfinished steps that an evaluation
    needs: the value is True if the failure of the step is certain to fail the expression. `lookups` collects the parts
    of long values that it needs.
    """

    text: JsonText
    supplied: Mapping[str, JsonText]
    defaults: Mapping[str, JsonText]
    steps: dict[str, Value | ItemError] = field(default_factory=dict)
    missing: dict[str, bool] = field(default_factory=dict)
    lookups: list[tuple[Value, PathKeys]] = field(default_factory=list)
    room: int = MAX_JSON_BYTES
    work: int = 0
    _input: Value | None = None
    _variables: dict[str, Value] = field(default_factory=dict)

    @property
    def input(self) -> Value:
        """The input of the item."""
        if self._input is None:
            self._input = Value(self.text)
        return self._input

    def variable(self, name: str) -> Value | None:
        """The supplied value of a variable, else the default of its schema; None if it has neither."""
        value = self._variables.get(name)
        if value is None:
            text = self.supplied.get(name)
            if text is None:
                text = self.defaults.get(name)
            if text is None:
                return None
            value = self._variables[name] = Value(text)
        return value

    def count(self, size: int) -> None:
        """Count characters that the evaluation holds. Raises ItemFailure if these are more than a value may have."""
        self.room -= size
        if self.room < 0:
            raise too_long()

    def is_time(self) -> bool:
        """Whether an evaluation in steps has done enough for one, after another reference."""
        self.work = (self.work + 1) % _STEP
        return self.work == 0

    def look_up(self) -> Steps[None]:
        """Look up the parts that are noted in `lookups`: an evaluation then finds them."""
        lookups, self.lookups = self.lookups, []
        by_value: dict[int, tuple[Value, list[PathKeys]]] = {}
        for number, (value, keys) in enumerate(lookups):
            by_value.setdefault(id(value), (value, []))[1].append(keys)
            if number % _STEP == 0:
                yield
        for value, paths in by_value.values():
            yield from value.look_up(paths)


class Node(ABC):
    """A compiled expression, or a part of one."""

    __slots__ = ()

    composite: ClassVar[bool] = False
    """Whether it is made of others."""

    @abstractmethod
    def evaluate(self, scope: Scope) -> JsonText | None:
        """Return the value, or None if steps or parts of long values are missing, which are then noted in the scope.

        Raises ItemFailure if the expression has no value, and TooLongAtOnce if the value can only be put together in
        steps.
        """

    def write(self, scope: Scope, out: list[JsonText]) -> Steps[bool]:
        """Append the value in pieces, in steps; the values `null` and `false` are one piece.

        Return False if steps or parts are missing, which are noted in the scope; the pieces are then of no use. Raises
        ItemFailure if the expression has no value.
        """
        return _append(self.evaluate(scope), scope, out)
        yield


def _append(value: JsonText | None, scope: Scope, out: list[JsonText]) -> bool:
    if value is None:
        return False
    scope.count(len(value))
    out.append(value)
    return True


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

    composite = True

    def __init__(self, texts: Sequence[JsonText], holes: Sequence[Node]) -> None:
        """`texts` are those before, between and behind the holes: one more than these."""
        self._holes = tuple(holes)
        self._parts = [""] * (2 * len(holes) + 1)
        self._parts[::2] = texts

    def evaluate(self, scope: Scope) -> JsonText | None:
        # All holes, also those behind a missing step: one pass finds all steps that can run concurrently.
        parts = self._parts.copy()
        complete = True
        length = 0
        index = 1
        for hole in self._holes:
            value = hole.evaluate(scope)
            if value is None:
                complete = False
            else:
                parts[index] = value
                length += len(value)
                if length > MAX_AT_ONCE:
                    raise TooLongAtOnce
            index += 2
        return "".join(parts) if complete else None

    def write(self, scope: Scope, out: list[JsonText]) -> Steps[bool]:
        complete = True
        for index, hole in enumerate(self._holes):
            out.append(self._parts[2 * index])
            if scope.is_time():
                yield
            if hole.composite:
                complete &= yield from hole.write(scope, out)
            else:
                complete &= _append(hole.evaluate(scope), scope, out)
        out.append(self._parts[-1])
        return complete


class InputReference(Node):
    """The input of the item, or a part of it."""

    __slots__ = ("_path",)

    def __init__(self, path: JsonPath) -> None:
        self._path = path

    def evaluate(self, scope: Scope) -> JsonText | None:
        if not self._path.keys:
            return scope.text
        try:
            found = scope.input.find(self._path.keys)
        except NotLookedUp:
            scope.lookups.append((scope.input, self._path.keys))
            return None
        if found is None:
            raise ItemFailure.of(UNDEFINED, f"Input path {self._path.text} not found")
        return found


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
        try:
            found = outcome.find(self._path.keys)
        except NotLookedUp:
            scope.lookups.append((outcome, self._path.keys))
            return None
        if found is None:
            step_id = shortened(self._step_id)
            raise ItemFailure.of(UNDEFINED, f"Path {self._path.text} not found in the output of step '{step_id}'")
        return found


class VariableReference(Node):
    """A variable, or a part of it; if that is absent, the default."""

    __slots__ = ("_default", "_name", "_path")

    composite = True

    def __init__(self, name: str, path: JsonPath, default: Node | None) -> None:
        self._name = name
        self._path = path
        self._default = default

    def evaluate(self, scope: Scope) -> JsonText | None:
        try:
            found = self._find(scope)
        except NotLookedUp:
            return None
        return self._or_default().evaluate(scope) if found is None else found

    def write(self, scope: Scope, out: list[JsonText]) -> Steps[bool]:
        try:
            found = self._find(scope)
        except NotLookedUp:
            return False
        if found is None:
            return (yield from self._or_default().write(scope, out))
        return _append(found, scope, out)

    def _find(self, scope: Scope) -> JsonText | None:
        variable = scope.variable(self._name)
        if variable is None:
            return None
        try:
            return variable.find(self._path.keys)
        except NotLookedUp:
            scope.lookups.append((variable, self._path.keys))
            raise

    def _or_default(self) -> Node:
        if self._default is None:
            raise ItemFailure.of(UNDEFINED, f"Undefined variable: {shortened(self._name)}")
        return self._default


class Conditional(Node):
    """One of two branches; the other one is not evaluated."""

    __slots__ = ("_condition", "_otherwise", "_then")

    composite = True

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

    def write(self, scope: Scope, out: list[JsonText]) -> Steps[bool]:
        certain, scope.missing = scope.missing, {}
        room = scope.room
        condition: list[JsonText] = []
        try:
            complete = yield from self._condition.write(scope, condition)
        except ItemFailure:
            complete, condition = True, [NULL]
        guarded, scope.missing, scope.room = scope.missing, certain, room
        if not complete:
            for step_id in guarded:
                certain.setdefault(step_id, False)
            return False
        fails = len(condition) == 1 and condition[0] in {NULL, "false"}
        del condition
        return (yield from (self._otherwise if fails else self._then).write(scope, out))


class Coalesce(Node):
    """The first member that is not null; those behind it are not evaluated."""

    __slots__ = ("_members",)

    composite = True

    def __init__(self, members: Sequence[Node]) -> None:
        self._members = tuple(members)

    def evaluate(self, scope: Scope) -> JsonText | None:
        for member in self._members:
            value = member.evaluate(scope)
            if value != NULL:
                return value
        return NULL

    def write(self, scope: Scope, out: list[JsonText]) -> Steps[bool]:
        before = len(out)
        for member in self._members:
            if scope.is_time():
                yield
            if not (yield from member.write(scope, out)):
                return False
            if out[before] != NULL:
                return True
            del out[before:]
        out.append(NULL)
        return True


class Expression(NamedTuple):
    """A compiled expression, the steps that it may need, and the number of nodes that it is made of."""

    root: Node
    references: tuple[str, ...] = ()
    size: int = 1

    def evaluate(self, scope: Scope) -> JsonText | None:
        """Return the value at once; as `Node.evaluate` does."""
        return self.root.evaluate(scope)

    def steps(self, scope: Scope) -> Steps[list[JsonText] | None]:
        """Return the parts of the value in steps; None if steps or parts are missing, which the scope then notes.

        Raises ItemFailure if the expression has no value.
        """
        out: list[JsonText] = []
        scope.room = MAX_JSON_BYTES
        return out if (yield from self.root.write(scope, out)) else None


def too_long() -> ItemFailure:
    """The failure of an expression whose value is too long."""
    return ItemFailure.of(UNUSABLE_VALUE, f"a value exceeds {MAX_JSON_BYTES} characters")
