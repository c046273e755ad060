"""The pages of the site: their commands work as they are printed, in an empty home directory."""

import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.support.page_blocks import ROOT, Block, blocks
from tests.support.page_session import follow, is_like, stable
from tests.support.session import started_with

DOCS: Final = ROOT / "docs"
SESSIONS: Final = [DOCS / "concepts.md", *sorted((DOCS / "how-to").glob("*.md"))]
"""Pages that are followed from their beginning to their end."""

RUN: Final = ("sh", "python", "js")


async def follow_page(page: Path, home: Path, environment: dict[str, str], online: int = 0) -> None:
    """Execute all blocks of a page, and compare what they print with what it says."""
    steps = [block for block in blocks(page) if block.language in RUN]
    outputs, failure = await follow(steps, home, environment, online)
    assert failure == ""
    printed: dict[Block, str] = dict(zip(steps, outputs, strict=True))
    told = {before: block for before, block in pairwise(blocks(page)) if block.language == "text"}
    for block, output in printed.items():
        expected = told[block].text if block in told else ""
        assert is_like(output, expected), f"{block.name!r} prints:\n{stable(output)}\nand not:\n{stable(expected)}"
    assert told.keys() <= printed.keys()


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.stem)
async def test_a_page_works_as_it_is_printed(page: Path, tmp_path: Path) -> None:
    if any(block.language == "js" for block in blocks(page)) and not shutil.which("node"):
        pytest.skip("the page has programs for Node")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    await follow_page(page, tmp_path, {"PATH": path})


@pytest.mark.slow
async def test_the_quick_start_works_literally(tmp_path: Path) -> None:
    """On a new machine: in an empty home directory, outside of the project."""
    pip = {name: text for name, text in started_with().items() if name.lower().startswith(("pip_", "http", "no_proxy"))}
    settings = {"CHECKOUT": str(ROOT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    await follow_page(DOCS / "quick-start.md", tmp_path, {**pip, **settings, "PATH": path}, online=1)


def test_nothing_is_installed_by_a_name_that_is_not_ours_yet() -> None:
    """Until the first release, anybody could take the name on PyPI."""
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.*")]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    install = re.compile(r"^(?![|]).*pip install [^\n#`]*(?<![/\w.-])runs-gateway(?![\w./])", re.MULTILINE)
    assert [str(page) for page, text in texts.items() if install.search(text)] == []
