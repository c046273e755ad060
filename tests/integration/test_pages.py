"""The pages of the site: their commands work as they are printed, in an empty home directory."""

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.support.page_blocks import ROOT, Block, blocks
from tests.support.page_session import follow, is_like, stable
from tests.support.session import started_with
from tests.support.time_limit import suspended

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


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with the wheel, which the index of packages would have."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    with suspended():
        subprocess.run(build, check=True, env=started_with())
    return tmp_path


@pytest.mark.slow
async def test_the_quick_start_works_literally(wheels: Path) -> None:
    """On a new machine: in an empty home directory, outside of the project."""
    home = wheels / "home"
    home.mkdir()
    pip = {name: text for name, text in started_with().items() if name.lower().startswith(("pip_", "http", "no_proxy"))}
    settings = {"PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    await follow_page(DOCS / "quick-start.md", home, {**pip, **settings, "PATH": path}, online=1)
