"""The site, as `make site` builds it, in a real browser."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from tests.support.browser import browser, new_page
from tests.support.programs import program
from tests.support.session import started_with
from tests.support.time_limit import suspended

ROOT: Final = Path(__file__).parents[2]
SITE: Final = ROOT / ".cache/site-build/site"


@pytest.fixture(scope="module")
def built() -> Path:
    """The site, built strictly and checked."""
    program("npm", "npm")
    with suspended():
        subprocess.run(["make", "-o", ".venv/.ready", "site"], cwd=ROOT, check=True, env=started_with())
    return SITE


@pytest.fixture
async def address(built: Path) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_static("/", built)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.slow
async def test_pages_load_nothing_from_other_hosts(address: str) -> None:
    async with browser() as opened, new_page(opened) as page:
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url))
        await page.goto(f"{address}/architecture.html")
        await page.locator("div.mermaid").first.wait_for()  # A diagram that is drawn is no `pre` any more.
        await page.get_by_role("link", name="Reference").first.click()
        await page.get_by_role("heading", name="RunsService").wait_for()
        assert any(url.endswith("mermaid.js") for url in asked)
        assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
