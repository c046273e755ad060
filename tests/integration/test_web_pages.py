"""Pages of another site, in a real browser: they follow runs by Connect and gRPC-Web, and go on after cuts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from gateway.client import AsyncRunsClient
from runs.v1 import runs_pb2
from tests.integration.conftest import Gateway, Start
from tests.support.browser import browser, new_page
from tests.support.cutting_proxy import CuttingProxy
from tests.support.identities import bearer, token_entry, token_of, write_tokens
from tests.support.left_run import left_run
from tests.support.showcase import ECHO, ORDER, Showcase
from tests.support.web_packages import bundled

STREAMING = ["connect-web", "connect-web-binary", "connect-web-grpc-web", "grpc-web-package-text"]
MANY = 20_000
Files: TypeAlias = dict[str, tuple[str, bytes]]
CUTS = (60_000, 30_000, 200_000)
"""After so many bytes of answers the first connections are cut: a preflight may be the first answer on one."""

TOKEN = token_of("page")
CALL = "arguments => globalThis.call(...arguments)"


@pytest.fixture(scope="session")
def files(contract: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """What the other site has."""
    script = bundled("web_page.mjs", tmp_path_factory.mktemp("page"))
    return {
        "/": ("text/html", b'<!doctype html><script type="module" src="/web_page.mjs"></script>'),
        "/web_page.mjs": ("text/javascript", script.read_bytes()),
        "/image.binpb": ("application/octet-stream", contract.read_bytes()),
        "/favicon.ico": ("image/x-icon", b""),
    }


@asynccontextmanager
async def site(files: Files) -> AsyncIterator[str]:
    """Another site, which has the page; its origin."""

    async def file(request: web.Request) -> web.Response:
        kind, content = files[request.path]
        return web.Response(body=content, content_type=kind)

    app = web.Application()
    for path in files:
        app.router.add_get(path, file)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def origin(files: Files) -> AsyncIterator[str]:
    async with site(files) as origin:
        yield origin


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def page(chromium: Browser, origin: str) -> AsyncIterator[Page]:
    async with new_page(chromium) as page:
        await opened(page, origin)
        yield page


async def opened(page: Page, origin: str) -> None:
    await page.goto(origin)
    await page.wait_for_function("globalThis.ready")


@pytest.fixture
async def gateway(start: Start, origin: str, tmp_path: Path) -> Gateway:
    """One that pages of that site may call with a token."""
    file = write_tokens(tmp_path / "tokens.toml", token_entry("page"))
    return await start(allow_origins=(origin,), tokens=str(file))


async def submitted(gateway: Gateway, flow: dict[str, Any], inputs: list[Any]) -> str:
    async with AsyncRunsClient(gateway.addresses.grpc, token=TOKEN) as client:
        return (await client.submit(await client.put_flow(flow), inputs)).run_id


async def follow(page: Page, protocol: str, address: str, run_id: str) -> Any:
    """What a page has seen of a run at its end."""
    arguments = [protocol, f"http://{address}", TOKEN, run_id]
    return await page.evaluate("arguments => globalThis.follow(...arguments)", arguments)


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_page_goes_on_after_cuts(gateway: Gateway, page: Page, protocol: str) -> None:
    run_id = await submitted(gateway, ECHO, list(range(MANY)))
    async with CuttingProxy(gateway.addresses.http, CUTS).running() as proxy:
        told = await follow(page, protocol, proxy.address, run_id)
        assert proxy.cuts == len(CUTS)
    assert told["texts"] == [str(index) for index in range(MANY)]
    assert told["repeated"] == 0
    assert told["state"] == runs_pb2.RUN_STATE_SUCCESS
    assert told["failures"]


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_page_sees_results_as_they_come(start: Start, page: Page, origin: str, protocol: str) -> None:
    shop = Showcase()
    async with shop.serving() as url:
        gateway = await start(allow_origins=(origin,), components={"/shop": url})
        run_id = await submitted(gateway, ORDER, [{"n": 1}, {"hold": True}])
        following = asyncio.create_task(follow(page, protocol, gateway.addresses.http, run_id))
        await page.wait_for_function("globalThis.seen === 1")
        shop.gate.set()
        told = await following
        await gateway.stop()
    assert (told["failures"], told["repeated"]) == ([], 0)
    assert [json.loads(text)["order"] for text in told["texts"]] == [{"n": 1}, {"hold": True}]


@pytest.mark.parametrize("protocol", STREAMING)
async def test_a_run_goes_on_that_a_page_leaves(start: Start, page: Page, origin: str, protocol: str) -> None:
    async with left_run(start, allow_origins=(origin,)) as run:
        arguments = [protocol, f"http://{run.address}", "", run.run_id]
        assert await page.evaluate("arguments => globalThis.leave(...arguments)", arguments) == run.run_id
        await run.is_left()
        await run.goes_on()


async def test_a_run_goes_on_whose_page_is_closed(start: Start, chromium: Browser, origin: str) -> None:
    async with left_run(start, allow_origins=(origin,)) as run:
        async with new_page(chromium) as page:
            await opened(page, origin)
            arguments = ["connect-web", f"http://{run.address}", "", run.run_id]
            await page.evaluate("arguments => { void globalThis.follow(...arguments); }", arguments)
            await page.wait_for_function("globalThis.updates === 1")
            await page.close()
            await run.is_left()
        await run.goes_on()


async def test_what_a_page_may_not_do(gateway: Gateway, chromium: Browser, files: Files) -> None:
    """A page of another origin reads nothing. Where all may call, none does so with what the browser has."""
    url = f"http://{gateway.addresses.http}/runs.v1.RunsService/ListRuns"
    headers = {"content-type": "application/json", "authorization": bearer(TOKEN)}
    async with site(files) as stranger:
        context = await chromium.new_context()
        page = await context.new_page()
        await opened(page, stranger)
        assert await page.evaluate(CALL, [url, {"headers": headers}]) == "TypeError"
        await context.close()


async def test_pages_of_any_site_call_without_credentials(start: Start, chromium: Browser, origin: str) -> None:
    gateway = await start(allow_origins=("*",))
    url = f"http://{gateway.addresses.http}/runs.v1.RunsService/ListRuns"
    headers = {"content-type": "application/json"}
    context = await chromium.new_context()
    page = await context.new_page()
    await opened(page, origin)
    assert await page.evaluate(CALL, [url, {"headers": headers}]) == 200
    assert await page.evaluate(CALL, [url, {"headers": headers, "credentials": "include"}]) == "TypeError"
    await context.close()


async def test_a_page_of_an_allowed_origin_calls_with_credentials(gateway: Gateway, page: Page) -> None:
    url = f"http://{gateway.addresses.http}/runs.v1.RunsService/ListRuns"
    headers = {"content-type": "application/json", "authorization": bearer(TOKEN)}
    assert await page.evaluate(CALL, [url, {"headers": headers, "credentials": "include"}]) == 200
    assert await page.evaluate(CALL, [url, {"headers": {**headers, "authorization": "Bearer x"}}]) == 401
