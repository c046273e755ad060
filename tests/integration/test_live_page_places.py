"""The live page where it is served otherwise: by worker processes, over TLS, and by a proxy below another path."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from gateway.server.listening import Addresses
from tests.integration.conftest import Start
from tests.support.browser import browser, new_page
from tests.support.certificates import Certificates
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine
from tests.support.showcase import ECHO, submitted


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@asynccontextmanager
async def below(path: str, addresses: Addresses) -> AsyncIterator[str]:
    """A proxy that serves a gateway below a path, and passes streams on as they come; its URL of the page."""

    async def passed_on(request: web.Request) -> web.StreamResponse:
        url = f"http://{addresses.http}/{request.match_info['rest']}"
        names = ("Content-Type", "Accept", "Last-Event-ID")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        async with session.request(
            request.method, url, data=await request.read(), headers=headers, allow_redirects=False
        ) as answer:
            kept = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
        return response

    app = web.Application()
    app.router.add_route("*", f"{path}/{{rest:.*}}", passed_on)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}{path}/ui"
        finally:
            await runner.cleanup()


async def shows_a_run(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator(".sum")).to_have_text("1 runs")
    await page.get_by_role("grid", name="Runs").press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="echo")).to_be_visible()
    await expect(page.get_by_role("region", name="Result")).to_have_text("1")


async def test_a_proxy_may_serve_it_below_any_path(start: Start, chromium: Browser) -> None:
    gateway = await start(ui=True)
    await submitted(gateway.grpc, ECHO, [1])
    async with below("/tools/runs", gateway.addresses) as url, new_page(chromium) as page:
        await shows_a_run(page, url)
        await page.goto(f"{url}/")
        assert page.url.partition("#")[0] == url


async def test_it_is_served_over_tls(start: Start, chromium: Browser, tmp_path: Path) -> None:
    files = Certificates(tmp_path).server()
    gateway = await start(ui=True, tls_cert=files.cert, tls_key=files.key)
    async with new_page(chromium, ignore_https_errors=True) as page:
        await page.goto(f"https://{gateway.addresses.http}/ui")
        await expect(page.get_by_text("There are no runs.")).to_be_visible()


async def test_workers_serve_it(chromium: Browser, tmp_path: Path) -> None:
    arguments = ("--ui", "--workers", "2", "--state", ":memory:")
    async with CommandLine(tmp_path).serving(*arguments) as serving, new_page(chromium) as page:
        assert serving.page == f"{serving.http}/ui"
        client = GrpcClient(serving.grpc)
        await submitted(client, ECHO, [1])
        await shows_a_run(page, serving.page)
        await page.get_by_role("link", name="Gateway").click()
        await expect(page.locator(".tiles")).to_contain_text("Workers2")
        await client.close()
