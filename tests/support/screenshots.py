"""Makes the pictures of the documents: `python -m tests.support.screenshots` looks at a gateway that is at work."""

import asyncio
import itertools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, expect

from gateway.core.control import CancelParams
from gateway.core.model import GetParams
from tests.support.browser import browser, new_page
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine
from tests.support.showcase import ECHO, ORDER, Showcase, submitted

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
WIDE: Final = {"viewport": {"width": 1360, "height": 820}}
NARROW: Final = {"viewport": {"width": 390, "height": 780}}
TEAMS: Final = ("checkout", "returns", "search")
REGIONS: Final = ("eu-west", "us-east", "ap-south")
FLOWS: Final = ("orders/settle", "orders/refund", "catalogue/reindex", "reports/nightly", "documents/extract")
HISTORY: Final = 120
ITEMS: Final = 9_600
SEED: Final = 7
FOLLOWERS: Final = 24
HISTORY_SECONDS: Final = 60.0
"""How much of the past the view of the gateway is to have."""
FAILS: Final = 5
"""The item that fails in runs that are large enough."""


async def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    shop = Showcase(pause=0.06)
    with tempfile.TemporaryDirectory() as folder:
        async with shop.serving() as url, browser() as opened:
            flags = (
                "--ui",
                "--state",
                f"{folder}/runs.db",
                "--component",
                f"/shop={url}",
                "--max-executing-items",
                "160",
            )
            async with CommandLine(Path(folder)).serving(*flags) as serving:
                client = GrpcClient(serving.grpc)
                await _history(client)
                run = await _large_run(client)
                follow = GetParams(run_id=run, wait=True)
                tasks: list[asyncio.Task[Any]] = [asyncio.create_task(_work(client))]
                tasks += [asyncio.create_task(client.get(follow)) for _ in range(FOLLOWERS)]
                try:
                    async with new_page(opened) as page:
                        await page.goto(serving.page)
                        await _pictures(opened, serving.page, run)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    shop.gate.set()
                    await client.close()


async def _pictures(opened: Browser, url: str, run: str) -> None:
    shots: list[tuple[str, str, dict[str, Any]]] = [
        ("runs-light", "", WIDE),
        ("run-dark", f"#/runs/{run}", {**WIDE, "color_scheme": "dark"}),
        ("run-narrow", f"#/runs/{run}", NARROW),
        ("gateway-light", "#/gateway", WIDE),
    ]
    chosen = sys.argv[1:]
    for name, view, options in shots:
        if chosen and name not in chosen:
            continue
        async with new_page(opened, **options) as page:
            await page.goto(url + view)
            await expect(page.locator("#connection-text")).to_have_text("Live")
            await _until_it_shows(page, view)
            await page.screenshot(path=IMAGES / f"{name}.png")


async def _until_it_shows(page: Page, view: str) -> None:
    """Wait until there is something to see: a minute of history, or an item in full."""
    if "gateway" in view:
        await asyncio.sleep(HISTORY_SECONDS)
    elif view:
        await page.get_by_role("button", name="Next failed").click()
        await expect(page.locator(".item-error")).to_be_visible()
    else:
        await expect(page.locator(".rate")).to_contain_text("changes")


async def _history(client: GrpcClient) -> None:
    """Runs that have ended, in every state."""
    chance = random.Random(SEED)
    for number in range(HISTORY):
        flow = {**(ORDER if number % 5 == 0 else ECHO), "name": FLOWS[number % len(FLOWS)]}
        count = chance.choice((1, 4, 12, 40))
        inputs = [{"n": item, "refuse": number % 15 == 0 and item % 4 == 1} for item in range(count)]
        labels = {"team": chance.choice(TEAMS), "region": chance.choice(REGIONS)}
        run = await submitted(client, flow, inputs, flow_label=f"batch-{number:03}", labels=labels)
        if number % 20 == 10:
            await client.cancel(CancelParams(run_id=run.run_id, reason="superseded"))


async def _large_run(client: GrpcClient) -> str:
    """A run that executes for a minute, with a few items that fail, and runs inside it."""
    inputs = [
        {
            "order": 41_000 + item,
            "lines": [{"sku": f"A-{item % 97:03}", "count": 1 + item % 4}],
            "refuse": item % 61 == 7,
        }
        for item in range(ITEMS)
    ]
    labels = {"team": "checkout", "region": "eu-west"}
    run = await submitted(client, ORDER, inputs, flow_label="black-friday", labels=labels)
    for number, name in enumerate(("orders/refund", "documents/extract", "orders/notify")):
        inner = await submitted(client, {**ORDER, "name": name}, [{"n": 1}] * 20 * (number + 1), inside=run.run_id)
        await submitted(client, {**ECHO, "name": "orders/audit"}, [1, 2, 3], inside=inner.run_id)
    return run.run_id


async def _work(client: GrpcClient) -> None:
    """Runs that come all the time."""
    chance = random.Random(SEED)
    for number in itertools.count(1_000):
        labels = {"team": chance.choice(TEAMS), "region": chance.choice(REGIONS)}
        orders = [{"n": item, "refuse": item == FAILS} for item in range(chance.choice((3, 8, 20, 60)))]
        flow = {**ORDER, "name": chance.choice(FLOWS)}
        await submitted(client, flow, orders, flow_label=f"batch-{number}", labels=labels)
        await asyncio.sleep(0.1 + chance.random() * 0.3)


if __name__ == "__main__":
    asyncio.run(main())
