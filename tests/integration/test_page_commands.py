"""Each block of code in a page is executed by a test, or says why not; settings and commands in it are valid."""

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from gateway.cli.program import run
from gateway.server.settings_sources import load_serve
from tests.support.page_blocks import ROOT, Block, blocks
from tests.support.page_examples import EXAMPLES, NOT_EXECUTED, TESTED, TESTED_BLOCKS
from tests.support.page_session import SERVERS, follow
from tests.support.site_pages import pages

FOLLOWED: Final = ("docs/quick-start.md", "docs/concepts.md", "docs/how-to/")
"""Pages that tests/integration/test_pages.py follows."""

DATA: Final = ("toml", "yaml", "json", "text", "mermaid")
PAGES: Final = {str(page.relative_to(ROOT)): blocks(page) for page in (ROOT / "README.md", *pages())}
REMAINING: Final = {
    (name, block.name): block
    for name, found in PAGES.items()
    if not name.startswith((*TESTED, *FOLLOWED))
    for block in found
}


def entries(table: dict[tuple[str, str], object]) -> set[tuple[str, str]]:
    """The blocks that entries of a table are about. Each entry is about one block at least."""
    found = set()
    for page, beginning in table:
        named = {place for place in REMAINING if place[0] == page and place[1].startswith(beginning)}
        assert named, f"there is no such block any more: {page}: {beginning}"
        found |= named
    return found


def test_each_block_is_executed_or_says_why_not() -> None:
    commands = {place for place, block in REMAINING.items() if block.language not in DATA}
    executed = entries(dict(EXAMPLES)) | entries(dict(TESTED_BLOCKS)) | entries(dict(NOT_EXECUTED))
    assert commands - executed == set(), "tests/support/page_examples.py has no word of them"


def test_the_tests_of_pages_exist() -> None:
    assert {file for file in [*TESTED.values(), *TESTED_BLOCKS.values()] if not (ROOT / file).exists()} == set()


@pytest.mark.parametrize("place", [place for place, block in REMAINING.items() if block.language in DATA], ids=str)
def test_data_is_of_its_language(place: tuple[str, str], tmp_path: Path) -> None:
    block = REMAINING[place]
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif block.language == "toml" and "[[tokens]]" not in block.text:
        file = tmp_path / "settings.toml"
        file.write_text(block.text, encoding="utf-8")
        assert tomllib.loads(block.text)
        load_serve({}, {}, file)


def command_lines() -> Iterator[tuple[str, str]]:
    """The commands of the gateway in all pages, with the pages."""
    for name, found in PAGES.items():
        for block in found:
            if block.language in ("", "sh", "console"):
                text = re.sub(r"\\\n\s*", " ", block.text)
                for match in re.finditer(r"runs-gateway ([a-z]+(?![\w/.-])[^\n|;&)<>]*)", text):
                    yield name, match[1]


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_commands_and_flags_exist(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a text goes on in the next line
        words = line.partition("'")[0].split()
    command = [words[0]]
    if words[0] in ("token", "temporal"):
        command.append(words[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        assert run([*command, "--help"]) == 0
    flags = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    named = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert named - flags - {"--help", "--version"} == set(), page


def executed(place: tuple[str, str]) -> list[Block]:
    """The blocks of a session that executes one block."""
    (name,) = [name for name in EXAMPLES if name[0] == place[0] and place[1].startswith(name[1])]
    example, block = EXAMPLES[name], REMAINING[place]
    text = block.text
    if block.language == "console":
        text = "\n".join(line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ "))
    for old, new in example.replaced:
        text = text.replace(old, new)
    before = [Block("sh", example.before)] if example.before else []
    if not text.startswith(SERVERS):
        return [Block("sh", example.serve), *before, Block("sh", text)]
    # Several servers of one block are tried one after the other.
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [*before, *(Block("sh", line.partition(" #")[0]) for line in lines if line.startswith(SERVERS))]


@pytest.mark.parametrize("place", sorted(entries(dict(EXAMPLES))), ids=str)
async def test_the_block_works_as_it_is_printed(place: tuple[str, str], tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    _, failure = await follow(executed(place), tmp_path, {"PATH": path, "PROJECT": str(ROOT)})
    assert failure == ""
