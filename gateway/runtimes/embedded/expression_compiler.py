"""Compiles the expressions of flow documents; `gateway.runtimes.embedded.expressions` describes them."""

import re
from collections.abc import Callable, Mapping

from gateway.core.errors import InvalidFlow, InvalidParams, Path, Violation
from gateway.core.json_text import elements, members, quote, string
from gateway.core.model import JsonText
from gateway.runtimes.embedded.expressions import (
    Coalesce,
    Conditional,
    Constant,
    Expression,
    InputReference,
    Node,
    Reference,
    StepReference,
    Template,
    VariableReference,
)
from gateway.runtimes.embedded.json_path import WHOLE, JsonPath, parse_path, path_of
from gateway.runtimes.embedded.values import NULL

MAX_DEPTH = 100
"""How many levels of objects and arrays an expression may have. Values without a `$` name may nest more deeply."""

DATA_NAMES = frozenset(
    {"$blob", "$schema", "$id", "$ref", "$defs", "$anchor", "$comment", "$vocabulary", "$dynamicRef", "$dynamicAnchor"}
)
"""Names that look like those of expressions, but are data."""

LEGACY_FROM = (
    "$from is no longer supported; "
    'instead of {"$from": {"step": id}, "path": path} write {"$step": id, "path": path}, '
    'instead of {"$from": {"workflow": "input"}, "path": path} write {"$input": path}; '
    "if it is data, put the object under $literal"
)

_EXPRESSION_NAME = re.compile(r"\$[A-Za-z]")
_NAME_BEGINNINGS = ('"$', '"\\u0024')


def compile_expression(text: JsonText, path: Path) -> Expression:
    """Compile the expression at `path` of a document. Raises InvalidFlow, with all violations, if it is invalid."""
    compiler = _ExpressionCompiler()
    root = _node(compiler.parts(text, path, 0))
    if compiler.violations:
        raise InvalidFlow(compiler.violations)
    return Expression(root, tuple(compiler.references))


def _node(parts: list[str | Node]) -> Node:
    """Join texts and the nodes between them into one node."""
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


class _ExpressionCompiler:
    """Compiles one expression, and collects its violations and the steps that it names."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.references: list[Reference] = []

    def parts(self, text: JsonText, path: Path, depth: int) -> list[str | Node]:
        """Return an expression as texts and the nodes between them; a constant is a single text."""
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
        for index, element in enumerate(inner):
            parts += ["," if index else "", *self.parts(element, (*path, index), depth + 1)]
        return [*parts, "]"]

    def _object(self, inner: Mapping[str, JsonText], path: Path, depth: int) -> list[str | Node]:
        for name, compile_inner in _EXPRESSIONS.items():
            if name in inner:
                return compile_inner(self, inner, path, depth)
        self._refuse_unknown(inner, path)
        parts: list[str | Node] = ["{"]
        for index, (name, member) in enumerate(inner.items()):
            parts += [f"{',' if index else ''}{quote(name)}:", *self.parts(member, (*path, name), depth + 1)]
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
        return [Coalesce([_node(self.parts(text, (*path, index), depth + 1)) for index, text in enumerate(texts)])]

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


_EXPRESSIONS: Mapping[str, Callable[[_ExpressionCompiler, Mapping[str, JsonText], Path, int], list[str | Node]]] = {
    "$literal": _ExpressionCompiler._literal,
    "$if": _ExpressionCompiler._if,
    "$coalesce": _ExpressionCompiler._coalesce,
    "$from": _ExpressionCompiler._from,
    "$step": _ExpressionCompiler._step,
    "$input": _ExpressionCompiler._input,
    "$variable": _ExpressionCompiler._variable,
}
