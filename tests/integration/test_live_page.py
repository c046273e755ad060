"""The live page in a real browser, before a real gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from gateway.core.control import CancelParams, DeleteParams, ListParams
from gateway.core.model import RunState
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.integration.conftest import Gateway, Start
from tests.support.browser import browser, new_page
from tests.support.clients import JsonRpcClient
from tests.support.showcase import ECHO, ORDER, Showcase, submitted

MARKUP = '<img src=x onerror="document.title=1">'


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    async with new_page(chromium) as page:
        yield page


@pytest.fixture
async def shop() -> Showcase:
    return Showcase()


@pytest.fixture
async def gateway(start: Start, shop: Showcase) -> AsyncIterator[Gateway]:
    async with shop.serving() as url:
        yield await start(ui=True, components={"/shop": url})
        shop.gate.set()


def address(gateway: Gateway, hash_: str = "") -> str:
    return f"http://{gateway.addresses.http}/ui{hash_}"


async def test_runs_come_and_change_while_somebody_looks(gateway: Gateway, shop: Showcase, page: Page) -> None:
    await page.goto(address(gateway))
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await submitted(gateway.grpc, ORDER, [{"n": 1}, {"hold": True}], flow_label="first")
    row = page.get_by_role("row").nth(1)
    await expect(row).to_contain_text("orders/settle")
    await expect(row).to_contain_text("1 / 2")
    await expect(row.locator(".state")).to_have_text("running")
    await expect(page.locator(".chip", has_text="running")).to_contain_text("1")
    shop.gate.set()
    await expect(row).to_contain_text("2 / 2")
    await expect(row.locator(".state")).to_have_text("success")
    await expect(page.locator(".chip", has_text="success")).to_contain_text("1")
    await expect(page.locator(".sum")).to_have_text("1 runs")


async def test_runs_are_found_by_words_states_flow_label_and_time(gateway: Gateway, page: Page) -> None:
    for number in range(6):
        await submitted(gateway.grpc, ECHO, [number], flow_label=f"batch-{number}", labels={"team": "ab"[number % 2]})
    held = await submitted(gateway.grpc, ORDER, [{"hold": True}])
    await gateway.grpc.cancel(CancelParams(run_id=held.run_id))
    await page.goto(address(gateway))
    total = page.locator(".sum")
    await expect(total).to_have_text("7 runs")

    await page.get_by_label("Search the runs below").fill("batch-3")
    await expect(total).to_have_text("1 of 7 runs")
    assert "q=batch-3" in page.url
    await page.get_by_label("Search the runs below").fill("no such thing")
    await expect(page.get_by_text("No run matches.")).to_be_visible()
    await page.get_by_label("Search the runs below").fill("")
    await page.get_by_label("Flow: how").fill("no such flow")
    await expect(total).to_have_text("0 runs")
    await expect(page.get_by_text("No run matches.")).to_be_visible()
    await page.get_by_label("Flow: how").fill("")
    await expect(total).to_have_text("7 runs")
    await page.get_by_role("button", name="cancelled").click()
    await expect(total).to_have_text("1 of 7 runs")
    await expect(page.get_by_role("button", name="cancelled")).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="success").click()
    await expect(total).to_have_text("7 of 7 runs")
    await page.goto(address(gateway))

    await page.get_by_label("Flow: how").fill("orders")
    await expect(total).to_have_text("1 runs")
    await page.get_by_label("Flow: how").fill("")
    await page.get_by_label("Label: name").fill("team=a, batch-")
    await expect(total).to_have_text("3 runs")
    await page.get_by_label("Label: name").fill("")
    await page.get_by_label("Created").select_option("1h")
    await expect(total).to_have_text("7 runs")
    await page.get_by_label("Outermost only").check()
    await expect(total).to_have_text("7 runs")
    assert "since=1h&roots=1" in page.url
    first = page.get_by_role("row").nth(1)
    await expect(first).to_contain_text("orders/settle")
    await page.get_by_role("button", name="Created").click()
    await expect(first).to_contain_text("batch-0")


async def test_a_run_shows_its_items_and_each_of_them_in_full(gateway: Gateway, shop: Showcase, page: Page) -> None:
    long = '{"big":1152921504606846977,"list":[' + ",".join(map(str, range(300))) + "]}"
    run = await submitted(gateway.grpc, ORDER, [long, {"refuse": True}, {"hold": True}], labels={"team": "a"})
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await expect(page.get_by_role("heading", name="orders/settle")).to_be_visible()
    await expect(page.locator(".legend")).to_have_text("pending 0running 1success 1failed 1cancelled 0")
    detail = page.get_by_label("The chosen item")
    await expect(detail).to_contain_text("Item 0")
    for step in ORDER["steps"]:
        await expect(detail.get_by_label("Steps")).to_contain_text(step["id"])
    given = page.get_by_role("region", name="Input")
    await expect(given).to_contain_text("big: 1152921504606846977")
    await page.get_by_label("Find in input").fill("299")
    await expect(given.locator(".found")).to_have_text("299: 299")

    await page.get_by_role("button", name="Next failed").click()
    await expect(detail).to_contain_text("Item 1")
    await expect(detail.locator(".item-error")).to_contain_text("the card was declined")
    assert page.url.endswith("?item=1")
    grid = page.get_by_role("grid", name="Items")
    await grid.press("ArrowRight")
    await expect(page.locator("#active-item")).to_have_attribute("aria-label", "Item 2: running")
    await expect(detail.locator(".about")).to_contain_text("running")
    shop.gate.set()
    await expect(page.locator(".legend")).to_have_text("pending 0running 0success 2failed 1cancelled 0")
    await expect(page.locator("#active-item")).to_have_attribute("aria-label", "Item 2: success")
    await expect(detail.locator(".about")).to_contain_text("success")
    await expect(page.locator("#connection-text")).to_have_text("Complete")
    await page.reload()
    await expect(detail).to_contain_text("Item 2")


async def test_numbers_are_shown_as_they_were_sent(gateway: Gateway, page: Page) -> None:
    run = await submitted(gateway.grpc, ECHO, ['{"huge":1e400,"digits":0.10000000000000000001}'], wait=True)
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    result = page.get_by_role("region", name="Result")
    await expect(result).to_contain_text("huge: 1e400")
    await expect(result).to_contain_text("digits: 0.10000000000000000001")


async def test_ten_thousand_items_are_a_map_that_the_keyboard_walks(gateway: Gateway, page: Page) -> None:
    run = await submitted(gateway.grpc, ECHO, list(range(10_000)), wait=True)
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await expect(page.locator(".counts")).to_have_text("10,000 of 10,000 items have ended")
    grid = page.get_by_role("grid", name="Items")
    await grid.press("End")
    await expect(page.locator("#active-item")).to_have_attribute("aria-label", "Item 9999: success")
    await expect(page.get_by_role("region", name="Result")).to_have_text("9999")
    assert await page.locator(".map *").count() < 10
    await grid.press("Home")
    await expect(page.get_by_role("region", name="Result")).to_have_text("0")


async def test_a_run_is_cancelled_and_deleted_after_a_question(gateway: Gateway, page: Page) -> None:
    run = await submitted(gateway.grpc, ORDER, [{"hold": True}, {"n": 2}])
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await page.get_by_role("button", name="Cancel run").click()
    await page.get_by_role("button", name="Back").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Delete").click()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)

    await page.get_by_role("button", name="Cancel run").click()
    await page.get_by_label("Reason").fill("no longer needed")
    await page.get_by_role("button", name="Cancel the run").click()
    await expect(page.locator(".title .state")).to_have_text("cancelled")
    await expect(page.locator(".facts")).to_contain_text("no longer needed")
    await expect(page.locator("#active-item")).to_have_attribute("aria-label", "Item 0: cancelled")
    await expect(page.get_by_role("button", name="Cancel run")).to_be_hidden()

    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the run").click()
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    assert (await gateway.grpc.list_runs(ListParams())).runs == []


async def test_a_run_that_executes_is_deleted_with_a_cancel(gateway: Gateway, page: Page) -> None:
    run = await submitted(gateway.grpc, ORDER, [{"hold": True}])
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_label("Cancel it before").check()
    await page.get_by_role("button", name="Delete the run").click()
    await expect(page.get_by_text("There are no runs.")).to_be_visible()


@pytest.mark.parametrize("inputs", [[1], [{"hold": True}]], ids=["ended", "executing"])
async def test_a_run_that_somebody_else_deletes_is_told(gateway: Gateway, page: Page, inputs: list[Any]) -> None:
    held = inputs != [1]
    run = await submitted(gateway.grpc, ORDER if held else ECHO, inputs, wait=not held)
    await page.clock.install()
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await expect(page.locator("#connection-text")).to_have_text("Live" if held else "Complete")
    await expect(page.get_by_role("button", name="Delete")).to_be_visible()
    await gateway.grpc.delete(DeleteParams(run_id=run.run_id, cancel=held))
    await page.clock.fast_forward(10_000)
    await expect(page.get_by_role("alert").filter(visible=True)).to_have_text("This run has been deleted.")
    await expect(page.get_by_role("button", name="Delete")).to_be_hidden()
    await page.get_by_role("link", name="Runs", exact=True).first.click()
    await expect(page.get_by_text("There are no runs.")).to_be_visible()


async def test_runs_inside_a_run_are_a_tree(gateway: Gateway, page: Page) -> None:
    outer = await submitted(gateway.grpc, ORDER, [{"hold": True}])
    inner = await submitted(gateway.grpc, {**ORDER, "name": "inner"}, [{"hold": True}], inside=outer.run_id)
    await submitted(gateway.grpc, {**ECHO, "name": "innermost"}, [1], inside=inner.run_id)
    await page.goto(address(gateway, f"#/runs/{outer.run_id}"))
    tree = page.get_by_role("tree")
    await expect(tree.get_by_role("treeitem")).to_have_count(3)
    await submitted(gateway.grpc, {**ECHO, "name": "late"}, [1], inside=outer.run_id)
    await expect(tree.get_by_role("treeitem")).to_have_count(4)
    await tree.get_by_role("treeitem").first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="inner")).to_be_visible()
    await expect(tree.locator("[aria-selected=true] > .tree-line")).to_contain_text("inner")
    await page.go_back()
    await expect(page.get_by_role("heading", name="orders/settle")).to_be_visible()


async def test_the_keyboard_alone_is_enough(gateway: Gateway, page: Page) -> None:
    for number in range(100):
        await submitted(gateway.grpc, ECHO, [number], flow_label=f"run-{number}")
    await page.goto(address(gateway))
    await expect(page.locator(".sum")).to_have_text("100 runs")
    grid = page.get_by_role("grid", name="Runs")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search the runs below")).to_be_focused()
    await grid.focus()
    active = page.locator(".rows .row.active")
    await page.keyboard.press("ArrowDown")
    await expect(active).to_contain_text("run-99")
    await page.keyboard.press("End")
    await expect(active).to_contain_text("run-0")
    await page.keyboard.press("PageUp")
    await page.keyboard.press("Home")
    for _ in range(3):
        await page.keyboard.press("ArrowDown")
    await expect(active).to_contain_text("run-96")
    # New rows move the others; the active one stays the same run.
    await submitted(gateway.grpc, ECHO, [1], flow_label="new")
    await expect(page.locator(".sum")).to_have_text("101 runs")
    await expect(active).to_contain_text("run-96")
    await expect(active).to_have_attribute("aria-rowindex", "6")
    identity = await active.get_attribute("id")
    await expect(grid).to_have_attribute("aria-activedescendant", str(identity))
    await expect(grid).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await expect(page.locator(".facts")).to_contain_text("run-96")
    await page.keyboard.press("Escape")
    await expect(grid).to_be_focused()
    await expect(active).to_contain_text("run-96")


async def test_what_comes_from_others_is_text(gateway: Gateway, page: Page) -> None:
    flow = {**ECHO, "name": MARKUP}
    inside = {MARKUP: [MARKUP]}
    run = await submitted(gateway.grpc, flow, [inside], flow_label=MARKUP, labels={MARKUP[:30]: MARKUP})
    await page.goto(address(gateway))
    await expect(page.get_by_role("row").nth(1)).to_contain_text(MARKUP)
    await page.goto(address(gateway, f"#/runs/{run.run_id}"))
    await expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    await expect(page.get_by_role("region", name="Result")).to_contain_text(MARKUP)
    assert await page.locator("img").count() == 0
    assert await page.title() == f"{MARKUP} · Runs"
    await page.goto(address(gateway, f"#/runs/{MARKUP}"))
    await expect(page.get_by_role("alert").filter(visible=True)).to_be_visible()
    assert await page.locator("img").count() == 0


async def test_the_page_goes_on_after_a_restart_of_the_gateway(chromium: Browser, tmp_path: Path) -> None:
    def settings(grpc: str, http: str) -> ServeSettings:
        state = str(tmp_path / "runs.db")
        return ServeSettings(grpc_address=grpc, http_address=http, state=state, ui=True)

    async with new_page(chromium) as page:
        async with running(settings("127.0.0.1:0", "127.0.0.1:0")) as addresses:
            client = JsonRpcClient(addresses.http)
            await submitted(client, ECHO, [1], flow_label="before")
            await page.goto(f"http://{addresses.http}/ui")
            await expect(page.locator(".sum")).to_have_text("1 runs")
            await client.close()
        await expect(page.locator("#connection-text")).to_contain_text("Connection lost")
        await expect(page.get_by_role("row").nth(1)).to_contain_text("before")
        requests: list[dict[str, str]] = []
        page.on("request", lambda request: requests.append(request.headers))
        async with running(settings(addresses.grpc, addresses.http)) as addresses:
            client = JsonRpcClient(addresses.http)
            await expect(page.locator("#connection-text")).to_have_text("Live")
            await submitted(client, ECHO, [1], flow_label="after")
            await expect(page.get_by_role("row").nth(1)).to_contain_text("after")
            await expect(page.locator(".sum")).to_have_text("2 runs")
            assert requests[-1]["last-event-id"]
            await client.close()


async def test_a_run_that_is_not_there_is_told_in_words(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway, "#/runs/01a21af9-d13f-7d74-9cb9-7a34f1f57703"))
    await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("There is no such run")


async def test_changes_of_a_frame_are_drawn_together(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    drawn = await page.evaluate(
        """async () => {
            const { oncePerFrame } = await import("./ui/frames.js");
            let drawn = 0;
            const draw = oncePerFrame(() => (drawn += 1));
            for (let change = 0; change < 1000; change += 1) draw();
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return drawn;
        }"""
    )
    assert drawn == 1


async def test_the_store_keeps_the_newest_runs_in_order(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    kept: Any = await page.evaluate(
        """async () => {
            const { RunStore } = await import("./ui/store.js");
            const store = new RunStore(50);
            const at = (second) => new Date(1.7e12 + second * 1000).toISOString();
            const run = (number, status) => ({ runId: `r${number}`, status, createdAt: at(number), items: {} });
            const add = (number) => store.apply({ event: "added", runId: `r${number}`, run: run(number, "running") });
            [5, 1, 99, ...Array(80).keys()].forEach(add);
            store.apply({ event: "changed", runId: "r70", run: run(70, "success") });
            store.arrange();
            store.apply({ event: "left", runId: "r99" });
            store.apply({ event: "changed", runId: "r71" });
            store.arrange();
            return [store.sorted.map(({ id }) => id), store.size, store.left, store.counts];
        }"""
    )
    order, size, left, counts = kept
    assert order == [f"r{number}" for number in range(79, 30, -1) if number != 71]
    assert (size, left, counts) == (48, 31, {"running": 47, "success": 1})


def test_states_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "gateway/fronts/http/ui/format.js").read_text(encoding="utf-8")
    named = json.loads(page.partition("STATES = ")[2].partition(";")[0])
    assert sorted(named) == sorted(state.value for state in RunState)


async def test_the_gateway_tells_how_it_is(gateway: Gateway, shop: Showcase, page: Page) -> None:
    await submitted(gateway.grpc, ORDER, [{"hold": True}, {"n": 1}])
    await page.goto(address(gateway))
    await expect(page.locator(".sum")).to_have_text("1 runs")
    await page.get_by_role("link", name="Gateway").click()
    await expect(page.locator("#connection-text")).to_have_text("Live")
    await expect(page.locator(".tiles")).to_contain_text("Uptime")
    await expect(page.locator(".about-gateway")).to_contain_text("runtime embedded")
    await expect(page.locator(".components")).to_contain_text("/shop")
    await expect(page.get_by_role("img", name="Calls per second: gRPC")).to_be_visible()
    await page.go_back()
    await expect(page.locator(".sum")).to_have_text("1 runs")
    shop.gate.set()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("2 / 2")
