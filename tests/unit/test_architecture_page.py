"""The page of the architecture names files and definitions that are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

DEFINITIONS = sorted(set(re.findall(r"`([\w/]+\.py)`\s+`([\w.]+)`", PAGE)))
FILES = sorted(set(re.findall(r"`([\w/]+\.(?:py|proto))`", PAGE)))
FOLDERS = sorted(set(re.findall(r"`(\w+/(?:\w+/)*)`", PAGE)))
TARGETS = sorted(set(re.findall(r"`make ([\w-]+)`", PAGE)))


def found(path: str) -> Path:
    """Paths are relative to `gateway/`, or to the root."""
    return next((base / path for base in (ROOT / "gateway", ROOT) if (base / path).exists()), ROOT / path)


def defined_in(file: Path) -> set[str]:
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


def test_the_page_names_something() -> None:
    assert len(DEFINITIONS) > 30
    assert len(TARGETS) > 2


def test_files_are_there() -> None:
    assert [path for path in (*FILES, *FOLDERS) if not found(path).exists()] == []


def test_definitions_are_there() -> None:
    assert [(path, name) for path, name in DEFINITIONS if name not in defined_in(found(path))] == []


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in TARGETS if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
