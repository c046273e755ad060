"""The live page for everybody: axe finds nothing, in light and dark, wide and narrow; and with very many runs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from benchmarks.stored_runs import fill
from tests.integration.conftest import Gateway, Start
from tests.support.browser import browser, new_page
from tests.support.identities import token_entry, write_tokens
from tests.support.node_packages import node_package
from tests.support.programs import program
from tests.support.showcase import ECHO, ORDER, Showcase, submitted

NARROW = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
MOST_ROWS = 60
MANY = 100_000


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
def axe() -> str:
    """The source of axe."""
    program("npm", "npm")
    return (node_package("axe-core") / "axe.min.js").read_text(encoding="utf-8")


async def findings(page: Page, axe: str) -> list[str]:
    """What axe finds on a page, rules of best practice included."""
    await page.evaluate(axe)
    result: dict[str, Any] = await page.evaluate("axe.run(document)")
    return [
        f"{finding['id']}: {node['html'][:200]} {node['failureSummary']}"
        for finding in result["violations"]
        for node in finding["nodes"]
    ]


@pytest.mark.parametrize("form", [{}, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(start: Start, chromium: Browser, axe: str, scheme: str, form: dict[str, Any]) -> None:
    shop = Showcase()
    async with shop.serving() as url, new_page(chromium, color_scheme=scheme, **form) as page:
        gateway = await start(ui=True, components={"/shop": url})
        base = f"http://{gateway.addresses.http}/ui"
        inputs = [{"n": 1}, {"refuse": True}, {"hold": True}]
        run = await submitted(gateway.grpc, ORDER, inputs, flow_label="first", labels={"team": "a"})
        await submitted(gateway.grpc, ECHO, [1], inside=run.run_id)
        over = await submitted(gateway.grpc, ECHO, list(range(300)), wait=True)

        await page.goto(base)
        await expect(page.locator(".sum")).to_have_text("3 runs")
        await page.get_by_role("grid", name="Runs").press("ArrowDown")
        assert await findings(page, axe) == []
        await page.goto(f"{base}#/runs/{run.run_id}?item=1")
        await expect(page.locator(".item-error")).to_be_visible()
        await expect(page.get_by_role("treeitem")).to_have_count(2)
        assert await findings(page, axe) == []
        await page.get_by_role("button", name="Cancel run").click()
        assert await findings(page, axe) == []
        await page.keyboard.press("Escape")
        await page.goto(f"{base}#/runs/{over.run_id}")
        await expect(page.locator("#connection-text")).to_have_text("Complete")
        assert await findings(page, axe) == []
        await page.goto(f"{base}#/gateway")
        await expect(page.get_by_role("heading", name="Gateway")).to_be_visible()
        assert await findings(page, axe) == []
        shop.gate.set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_where_a_token_is_asked_for(
    start: Start, chromium: Browser, axe: str, scheme: str, tmp_path: Path
) -> None:
    gateway = await start(ui=True, tokens=str(write_tokens(tmp_path / "tokens.toml", token_entry("team"))))
    async with new_page(chromium, color_scheme=scheme) as page:
        await page.goto(f"http://{gateway.addresses.http}/ui")
        await page.get_by_label("Token").fill("rgw_wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible()
        assert await findings(page, axe) == []


async def test_axe_finds_nothing_where_sets_cannot_be_followed(start: Start, chromium: Browser, axe: str) -> None:
    upstream: Gateway = await start()
    gateway = await start(ui=True, runtime=f"jsonrpc+http://{upstream.addresses.http}/")
    run = await submitted(upstream.grpc, ECHO, [1], wait=True)
    await submitted(upstream.grpc, ECHO, [2], wait=True)
    async with new_page(chromium) as page:
        await page.goto(f"http://{gateway.addresses.http}/ui")
        await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("Sets of runs are not followed")
        assert await findings(page, axe) == []
        await page.get_by_label("Id of a run").fill(run.run_id)
        await page.get_by_role("button", name="Open the run").click()
        await expect(page.get_by_role("heading", name="echo")).to_be_visible()


async def test_a_dark_page_is_dark_and_follows_the_system(start: Start, chromium: Browser) -> None:
    gateway = await start(ui=True)
    shade = "getComputedStyle(document.body).backgroundColor"
    async with new_page(chromium, color_scheme="dark") as page:
        await page.goto(f"http://{gateway.addresses.http}/ui")
        dark = await page.evaluate(shade)
        await page.emulate_media(color_scheme="light")
        assert await page.evaluate(shade) != dark


async def test_narrow_screens_need_no_scrolling_sideways(start: Start, chromium: Browser) -> None:
    gateway: Gateway = await start(ui=True)
    long = "a-name-without-any-space-in-it-that-goes-on-and-on-for-longer-than-a-narrow-screen-is-wide"
    run = await submitted(gateway.grpc, {**ECHO, "name": long}, list(range(2_000)), flow_label=long, wait=True)
    async with new_page(chromium, **NARROW) as page:
        for view in ("", f"#/runs/{run.run_id}", "#/gateway"):
            await page.goto(f"http://{gateway.addresses.http}/ui{view}")
            await expect(page.get_by_text(long).or_(page.get_by_role("heading", name="Gateway")).first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["viewport"]["width"]  # type: ignore[index]
            assert await page.evaluate("document.querySelector('main').scrollWidth") <= 390


@pytest.mark.slow
@pytest.mark.no_cover
async def test_a_hundred_thousand_runs_take_a_few_rows(start: Start, chromium: Browser, tmp_path: Path) -> None:
    await fill(tmp_path / "runs.db", MANY)
    gateway = await start(ui=True, state=str(tmp_path / "runs.db"))
    async with new_page(chromium) as page:
        page.set_default_timeout(120_000)
        await page.goto(f"http://{gateway.addresses.http}/ui")
        await expect(page.locator(".sum")).to_have_text(f"{MANY:,} runs", timeout=120_000)
        grid = page.get_by_role("grid", name="Runs")
        await expect(grid).to_have_attribute("aria-rowcount", str(MANY + 1))
        rows = page.locator(".rows .row")
        assert 0 < await rows.count() < MOST_ROWS
        await grid.press("End")
        await expect(page.locator(".rows .row.active")).to_have_attribute("aria-rowindex", str(MANY + 1))
        assert await rows.count() < MOST_ROWS
        await page.get_by_label("Search the runs below").fill("000000010f2c")
        await expect(page.locator(".sum")).to_have_text(f"1 of {MANY:,} runs")
        await submitted(gateway.grpc, ECHO, [1], flow_label="new")
        await expect(page.locator(".sum")).to_have_text(f"1 of {MANY + 1:,} runs")
