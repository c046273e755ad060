"""A real browser, headless, and pages in it that tell what went wrong in them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.support.programs import program


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """The browser that the machine has. Skips the test if there is none; in CI the test fails."""
    path = program("chromium", "chromium")
    # Chromium refuses its sandbox to root, and containers have little memory that processes can share.
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield opened
        finally:
            await opened.close()


class Complaints(list[str]):
    """What a page has complained of: errors of its scripts, and what its policy does not let it do."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        # The browser itself tells of each request that failed; pages have to live with those.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.append(message.text)


@asynccontextmanager
async def new_page(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page with storage of its own. It must not have complained by the end."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
    try:
        page = await context.new_page()
        page.set_default_timeout(20_000)
        complaints = Complaints(page)
        yield page
        assert complaints == []
    finally:
        await context.close()
