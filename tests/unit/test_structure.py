"""The shape of the package: short files and functions, one meaning for a name, nothing twice, errors told alike."""

import ast
import builtins
import re
from collections import defaultdict
from pathlib import Path

GATEWAY = Path(__file__).parents[2] / "gateway"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
EQUAL_LINES = 12

GENERATED = {f"client/{name}blocking.py" for name in ("", "calls_", "control_", "lists_", "tokens_")}
"""Made from the asynchronous client: it repeats the lines and the names of its source."""

PUBLIC_NAMES = {"Item", "ItemError", "ItemResult", "RunFilter", "RunStatus", "StepStatus"}
"""The client's classes, named after the messages that they show to users: each name has one meaning."""

SOURCES = {str(file.relative_to(GATEWAY)): file.read_text(encoding="utf-8") for file in sorted(GATEWAY.rglob("*.py"))}
WRITTEN = {name: source for name, source in SOURCES.items() if name not in GENERATED}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
NODES = [(node, name) for name, tree in TREES.items() for node in ast.walk(tree)]
CLASSES = [(node.name, name) for node, name in NODES if isinstance(node, ast.ClassDef)]
ALIASES = [
    (ast.unparse(target), name)
    for name, tree in TREES.items()
    for node in tree.body
    if isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar" not in ast.unparse(node)
    for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    if re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", ast.unparse(target))
]

ERRORS = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}
for _ in range(5):  # Each round finds the errors that are made from those found before.
    ERRORS |= {
        node.name
        for node, _ in NODES
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).rpartition(".")[2] in ERRORS for base in node.bases)
    }
CONDITION = re.compile(rf"\b(?:{'|'.join(sorted(ERRORS))})\b(?:,[^,.]*)?,? (?:if|when|unless|at|for(?! which))\b")


def test_files_are_short() -> None:
    lines = {name: source.count("\n") for name, source in WRITTEN.items()}
    assert {name: number for name, number in lines.items() if number > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    functions = [(node, file) for node, file in NODES if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = [(file, node.name, (node.end_lineno or 0) - node.lineno + 1) for node, file in functions]
    assert [(file, name, number) for file, name, number in lines if number > MAX_FUNCTION_LINES] == []


def test_the_name_of_a_class_or_an_alias_means_one_thing() -> None:
    """An underscore before it makes no other name."""
    files = defaultdict(set)
    for name, file in [*CLASSES, *ALIASES]:
        if file in WRITTEN and name not in PUBLIC_NAMES:
            files[name.lstrip("_")].add(file)
    assert {name: found for name, found in files.items() if len(found) > 1} == {}


def test_no_run_of_lines_stands_twice() -> None:
    """Blank lines do not count, and a run that overlaps itself counts as well."""
    seen: dict[tuple[str, ...], str] = {}
    twice = []
    for file, source in WRITTEN.items():
        lines = [(number, line.strip()) for number, line in enumerate(source.splitlines(), 1) if line.strip()]
        for start in range(len(lines) - EQUAL_LINES + 1):
            run = lines[start : start + EQUAL_LINES]
            place = f"{file}:{run[0][0]}"
            first = seen.setdefault(tuple(line for _, line in run), place)
            if first != place:
                twice.append(f"{place} stands at {first} as well")
    assert twice == []


def test_docstrings_say_raises() -> None:
    """A docstring says "Raises X if ...", never "X if ..." alone."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = [(file, ast.get_docstring(node) or "") for node, file in NODES if isinstance(node, documented)]
    sentences = [(file, each) for file, text in docstrings for each in re.split(r"(?<=[.;:])\s+", text)]
    raised = re.compile(r"\brais(?:es?|ed|ing)\b", re.IGNORECASE)
    assert [(file, text) for file, text in sentences if CONDITION.search(text) and not raised.search(text)] == []
