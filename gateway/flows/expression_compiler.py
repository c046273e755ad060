"""Compiles the expressions of flow documents; `gateway.flows.expressions` describes them.

Each part of a document is looked at once, in steps, however deeply it is nested; see `gateway.core.json_layout`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gateway.core.errors import MAX_VIOLATIONS, MORE_VIOLATIONS, InvalidFlow, InvalidParams, Path, Violation, shortened
from gateway.core.json_layout import LongPart, Part, Steps, at_once
from gateway.core.json_text import elements as short_elements
from gateway.core.json_text import members as short_members
from gateway.core.json_text import quote, string
from gateway.core.model import JsonText
from gateway.flows.expressions import (
    Coalesce,
    Conditional,
    Constant,
    Expression,
    InputReference,
    Node,
    StepReference,
    Template,
    VariableReference,
)
from gateway.flows.json_path import WHOLE, JsonPath, parse_path
from gateway.flows.parts import begins_with, elements, members, part_of, text_of
from gateway.flows.values import NULL

MAX_DEPTH = 100
"""How many levels of objects and arrays an expression may have. Values without a `$` name may nest more deeply."""

DATA_NAMES = frozenset(
    {"$blob", "$schema", "$id", "$ref", "$defs", "$anchor", "$comment", "$vocabulary", "$dynamicRef", "$dynamicAnchor"}
)
"""Names that look like those of expressions, but are data."""

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "$literal": (),
    "$if": ("then", "else"),
    "$coalesce": (),
    "$step": ("path",),
    "$input": (),
    "$variable": ("default",),
}
"""The other members that an expression may have, by its name."""

LEGACY_FROM = (
    "$from is no longer supported; "
    'instead of {"$from": {"step": id}, "path": path} write {"$step": id, "path": path}, '
    'instead of {"$from": {"workflow": "input"}, "path": path} write {"$input": path}; '
    "if it is data, put the object under $literal"
)

_EXPRESSION_NAME = re.compile(r"\$[A-Za-z]")
_STEP: Final = 64
"""How many nodes a step compiles."""

_NAME_BEGINNINGS = re.compile(r'"(?:\$|\\u0024)')
_NAME_BEGINNING, _ESCAPED_BEGINNING = '"$', '"\\u0024'


class TooManyViolations(Exception):
    """There are as many violations as an error names: no more are looked for."""


class Violations:
    """The violations of a document, up to as many as an error names."""

    def __init__(self) -> None:
        self._found: list[Violation] = []

    def add(self, path: Path, description: str) -> None:
        """Note a violation. Raises TooManyViolations if there are enough."""
        self._found.append(Violation(path, description))
        if len(self._found) > MAX_VIOLATIONS:
            raise TooManyViolations

    def add_all(self, error: InvalidParams) -> None:
        """Note the violations of an error. Raises as `add` does."""
        for path, description in error.violations:
            self.add(path, description)

    def refuse(self) -> None:
        """Raise InvalidFlow if there are violations."""
        if self._found:
            rest = MORE_VIOLATIONS if len(self._found) > MAX_VIOLATIONS else ""
            raise InvalidFlow(self._found, rest=rest)


def compile_expression(text: JsonText, path: Path) -> Expression:
    """Compile the expression at `path` of a document. Raises InvalidFlow, with its violations, if it is invalid."""
    violations = Violations()
    try:
        compiler = ExpressionCompiler(violations, None)
        expression = at_once(compiler.compile(at_once(document_part(text)), path))
    except TooManyViolations:
        violations.refuse()
        raise
    violations.refuse()
    return expression


def document_part(text: JsonText) -> Steps[Part]:
    """A document that has expressions, as a part."""
    part = yield from part_of(text)
    if isinstance(part, LongPart):
        yield from part.layout.mark(_NAME_BEGINNINGS)
    return part


def _may_name(part: Part) -> bool:
    """Whether a `$` name may stand in the part. Without one it is a constant."""
    if isinstance(part, str):
        return _NAME_BEGINNING in part or _ESCAPED_BEGINNING in part
    return part.layout.is_marked(part.start, part.end)


class _Pieces:
    """An expression that is being put together: texts, and nodes between them."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._nodes: list[Node] = []
        self._pending: list[str] = []
        self.add = self._pending.append

    def add_node(self, node: Node) -> None:
        """Append a node."""
        self._texts.append("".join(self._pending))
        self._nodes.append(node)
        self._pending.clear()

    def node(self) -> Node:
        """All of it as one node."""
        end = "".join(self._pending)
        if not self._nodes:
            return Constant(end)
        if len(self._nodes) == 1 and not end and not self._texts[0]:
            return self._nodes[0]
        return Template([*self._texts, end], self._nodes)


class EarlierSteps:
    """The steps of a flow, of which an expression may refer to those that come before it."""

    def __init__(self) -> None:
        self.ids: frozenset[str] = frozenset()
        self.earlier: dict[str, Any] = {}

    def refusal(self, step_id: str) -> str | None:
        """Why an expression may not refer to a step; None if it may."""
        if step_id in self.earlier:
            return None
        reason = "does not come before this one" if step_id in self.ids else "does not exist"
        return f"refers to step '{shortened(step_id)}', which {reason}"


class ExpressionCompiler:
    """Compiles expressions of one document, which may refer to `steps`, or to any if it is None."""

    def __init__(self, violations: Violations, steps: EarlierSteps | None) -> None:
        self._violations = violations
        self._steps = steps
        self._paths: dict[JsonText, JsonPath] = {NULL: WHOLE}
        self._references: dict[str, None] = {}
        self._work = 0
        self.size = 0

    def compile(self, part: Part, path: Path) -> Steps[Expression]:
        """Compile the expression at `path`. Violations are noted. Raises TooManyViolations if there are enough."""
        self._references = {}
        if not _may_name(part):
            return Expression(Constant(text_of(part)))
        before = self.size
        root = yield from self._node(part, path, 0)
        return Expression(root, tuple(self._references), self.size - before)

    def _node(self, part: Part, path: Path, depth: int) -> Steps[Node]:
        if not _may_name(part):
            return Constant(text_of(part))
        pieces = _Pieces()
        yield from self._write(part, path, depth, pieces)
        return pieces.node()

    def _write(self, part: Part, path: Path, depth: int, pieces: _Pieces) -> Steps[None]:
        """Append an expression that is not constant, as far as its characters tell."""
        self._work += 1
        if self._work >= _STEP:
            self._work = 0
            yield
        if depth == MAX_DEPTH:
            self._wrong(path, f"nested in more than {MAX_DEPTH} levels")
            return
        try:
            if begins_with(part, "["):
                yield from self._array(part, path, depth, pieces)
            elif begins_with(part, "{"):
                inner = short_members(part, *path) if isinstance(part, str) else (yield from members(part, *path))
                yield from self._object(inner, path, depth, pieces)
            else:
                pieces.add(text_of(part))
        except InvalidParams as error:
            self._violations.add_all(error)
            pieces.add(NULL)

    def _array(self, part: Part, path: Path, depth: int, pieces: _Pieces) -> Steps[None]:
        pieces.add("[")
        if isinstance(part, LongPart):
            yield from self._long_array(part, path, depth, pieces)
        else:
            for index, element in enumerate(short_elements(part, *path)):
                if index:
                    pieces.add(",")
                if _may_name(element):
                    yield from self._write(element, (*path, index), depth + 1, pieces)
                else:
                    pieces.add(element)
        pieces.add("]")

    def _long_array(self, part: LongPart, path: Path, depth: int, pieces: _Pieces) -> Steps[None]:
        """Append elements. Constants that follow each other stay one text: there may be millions."""
        text = part.layout.text
        constants: tuple[int, int] | None = None
        separator = ""
        for number, child in enumerate(part.layout.children(part.start)):
            if child is None or number % _STEP == _STEP - 1:
                yield
            if child is None:
                continue
            index, start, end = child
            if not part.layout.is_marked(start, end):
                constants = (start if constants is None else constants[0], end)
                continue
            if constants is not None:
                pieces.add(separator + text[constants[0] : constants[1]])
                constants, separator = None, ","
            pieces.add(separator)
            separator = ","
            yield from self._write(part.part(child), (*path, index), depth + 1, pieces)
        if constants is not None:
            pieces.add(separator + text[constants[0] : constants[1]])

    def _object(self, inner: Mapping[str, Part], path: Path, depth: int, pieces: _Pieces) -> Steps[None]:
        for name in _NAMES:
            if name in inner:
                if name in _LEAVES:
                    node = _LEAVES[name](self, inner, path)
                else:
                    node = yield from _COMPOSITES[name](self, inner, path, depth)
                self.size += 1
                pieces.add_node(node)
                return
        self._refuse_unknown(inner, path)
        separator = "{"
        for number, (name, member) in enumerate(inner.items(), 1):
            if number % _STEP == 0:
                yield
            pieces.add(f"{separator}{quote(name)}:")
            separator = ","
            if _may_name(member):
                yield from self._write(member, (*path, name), depth + 1, pieces)
            else:
                pieces.add(text_of(member))
        pieces.add("}" if inner else "{}")

    def _refuse_unknown(self, inner: Mapping[str, Part], path: Path) -> None:
        for name in inner:
            if name[:1] == "$" and _EXPRESSION_NAME.match(name) and name not in DATA_NAMES:
                what = f"unknown expression '{shortened(name)}'; if it is data, put the object under $literal"
                self._wrong((*path, name), what)

    def _literal(self, inner: Mapping[str, Part], path: Path) -> Node:
        self._refuse_others(inner, path, "$literal")
        return Constant(text_of(inner["$literal"]))

    def _if(self, inner: Mapping[str, Part], path: Path, depth: int) -> Steps[Node]:
        self._refuse_others(inner, path, "$if")
        if "then" not in inner:
            self._wrong((*path, "then"), "is required by $if")
        condition = yield from self._node(inner["$if"], (*path, "$if"), depth + 1)
        then = yield from self._node(inner.get("then", NULL), (*path, "then"), depth + 1)
        otherwise = yield from self._node(inner.get("else", NULL), (*path, "else"), depth + 1)
        return Conditional(condition, then, otherwise)

    def _coalesce(self, inner: Mapping[str, Part], path: Path, depth: int) -> Steps[Node]:
        self._refuse_others(inner, path, "$coalesce")
        path = (*path, "$coalesce")
        nodes: list[Node] = []
        decided = False
        for index, part in enumerate((yield from elements(inner["$coalesce"], *path))):
            if index % _STEP == _STEP - 1:
                yield
            if part == NULL:
                continue
            node = yield from self._node(part, (*path, index), depth + 1)
            if not decided:
                nodes.append(node)
            decided = decided or isinstance(node, Constant)
        return Coalesce(nodes)

    def _from(self, inner: Mapping[str, Part], path: Path) -> Node:
        self._wrong(path, LEGACY_FROM)
        return Constant(NULL)

    def _step(self, inner: Mapping[str, Part], path: Path) -> Node:
        self._refuse_others(inner, path, "$step")
        step_id = string(text_of(inner["$step"]), *path, "$step")
        inside = self._path(inner.get("path", NULL), (*path, "path"))
        if step_id not in self._references:
            refusal = None if self._steps is None else self._steps.refusal(step_id)
            if refusal is None:
                self._references[step_id] = None
            else:
                self._wrong(path, refusal)
        return StepReference(step_id, inside)

    def _input(self, inner: Mapping[str, Part], path: Path) -> Node:
        self._refuse_others(inner, path, "$input")
        return InputReference(self._path(inner["$input"], (*path, "$input")))

    def _variable(self, inner: Mapping[str, Part], path: Path, depth: int) -> Steps[Node]:
        self._refuse_others(inner, path, "$variable")
        name, *keys = self._path(inner["$variable"], (*path, "$variable")).keys or (0,)
        default = yield from self._node(inner.get("default", NULL), (*path, "default"), depth + 1)
        if not isinstance(name, str):
            self._wrong((*path, "$variable"), "expected the name of a variable, or a path that begins with one")
            return Constant(NULL)
        return VariableReference(name, JsonPath(tuple(keys)), default if "default" in inner else None)

    def _path(self, part: Part, path: Path) -> JsonPath:
        text = text_of(part)
        parsed = self._paths.get(text)
        if parsed is None:
            try:
                parsed = self._paths[text] = parse_path(string(text, *path))
            except ValueError as error:
                raise InvalidParams.field(*path, description=str(error)) from None
        return parsed

    def _refuse_others(self, inner: Mapping[str, Part], path: Path, expression: str) -> None:
        if len(inner) == 1:
            return
        for name in inner:
            if name != expression and name not in MEMBERS[expression]:
                self._wrong((*path, name), f"not a member of a {expression} expression")

    def _wrong(self, path: Path, description: str) -> None:
        self._violations.add(path, description)


_CompileLeaf: TypeAlias = Callable[[ExpressionCompiler, Mapping[str, Part], Path], Node]
_CompileComposite: TypeAlias = Callable[[ExpressionCompiler, Mapping[str, Part], Path, int], Steps[Node]]

_LEAVES: Mapping[str, _CompileLeaf] = {
    "$literal": ExpressionCompiler._literal,
    "$from": ExpressionCompiler._from,
    "$step": ExpressionCompiler._step,
    "$input": ExpressionCompiler._input,
}
_COMPOSITES: Mapping[str, _CompileComposite] = {
    "$if": ExpressionCompiler._if,
    "$coalesce": ExpressionCompiler._coalesce,
    "$variable": ExpressionCompiler._variable,
}
_NAMES = ("$literal", "$if", "$coalesce", "$from", "$step", "$input", "$variable")
"""The names of expressions, in the order in which they are looked for."""
