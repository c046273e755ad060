"""The live page where there are identities: who looks, by which token, and where a token in a link leads."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from gateway.access.bearer import MAX_TOKEN
from gateway.client import AsyncRunsClient
from tests.integration.conftest import Gateway, Start
from tests.support.browser import browser, new_page
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.showcase import ECHO

NO_TOKENS = {
    "rgw_NKbp\N{HORIZONTAL ELLIPSIS}": "“\N{HORIZONTAL ELLIPSIS}” (U+2026)",
    "a\N{ZERO WIDTH SPACE}b": "the character U+200B",
    "b\N{LATIN SMALL LETTER E WITH ACUTE}": "(U+00E9)",
    "a\0b": "the character U+0000",
    "Bearer rgw_1": "a space",
    "a=b": "elsewhere than at its end",
    "a" * (MAX_TOKEN + 1): "too long",
}
"""Texts that can be no token, and what the page says of them. Most cannot be in a header either."""


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as opened:
        yield opened


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    async with new_page(chromium) as page:
        yield page


@pytest.fixture
async def gateway(start: Start, tmp_path: Path) -> Gateway:
    entries = token_entry("team"), token_entry("reader", ["runs:read"])
    (tmp_path / "signing.key").write_text("k" * 48, encoding="utf-8")
    tokens = str(write_tokens(tmp_path / "tokens.toml", *entries))
    return await start(ui=True, tokens=tokens, signing_key=str(tmp_path / "signing.key"))


def address(gateway: Gateway, hash_: str = "") -> str:
    return f"http://{gateway.addresses.http}/ui{hash_}"


async def run_and_its_token(gateway: Gateway) -> tuple[str, str]:
    """One of two runs, and a token for it alone."""
    async with AsyncRunsClient(gateway.addresses.grpc, token=token_of("team")) as client:
        flow = await client.put_flow(ECHO)
        run, _ = await client.submit(flow, [1]), await client.submit(flow, [2])
        granted = await client.create_token(["runs:read", "runs:delete"], run_id=run.run_id)
    return run.run_id, granted.token


async def test_a_token_is_asked_for_and_forgotten_on_demand(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.get_by_label("Token").fill("rgw_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Token").fill(token_of("team"))
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_text_that_can_be_no_token_is_refused_at_the_form(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    await expect(page.get_by_label("Token")).to_be_focused()
    for text, words in NO_TOKENS.items():
        await page.get_by_label("Token").fill(text)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text(words)
        await expect(page.get_by_label("Token")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.get_by_label("Token").fill(token_of("team"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("There are no runs.")).to_be_visible()


async def test_a_text_that_can_be_no_token_is_refused_of_a_link(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway, f"#token={token_of('team')}"))
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    for text, words in NO_TOKENS.items():
        await page.evaluate("text => (location.hash = `#token=${encodeURIComponent(text)}`)", text)
        await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text(words)
        assert page.url == address(gateway, "#/runs")
    await page.goto(address(gateway, "#token=%E0%A4%A"))
    await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("“%” (U+0025)")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_text_that_was_kept_and_can_be_no_token_is_forgotten(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    await page.evaluate("sessionStorage.setItem('runs-gateway-token', 'a\u200bb')")
    await page.reload()
    await expect(page.get_by_label("Token")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_link_brings_a_token_which_leaves_the_address(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway, f"#token={token_of('reader')}&/runs?state=failed"))
    await expect(page.get_by_text("There are no runs.")).to_be_visible()
    assert page.url == address(gateway, "#/runs?state=failed")
    assert token_of("reader") not in json.dumps(await page.evaluate("[location.href, document.title]"))


async def test_a_token_leaves_the_address_wherever_it_stands(gateway: Gateway, chromium: Browser) -> None:
    run_id, _ = await run_and_its_token(gateway)
    token = token_of("reader")
    for link, left in {
        f"#/runs/{run_id}?token={token}": f"#/runs/{run_id}",
        f"#/runs/{run_id}&token={token}": f"#/runs/{run_id}",
        f"#/runs/{run_id}?token={token}&item=0": f"#/runs/{run_id}?item=0",
        f"#/runs/{run_id}?item=0&token={token}": f"#/runs/{run_id}?item=0",
        f"#/token={token}&/runs/{run_id}": f"#/runs/{run_id}",
        f"#token=other&token%3D{token}&/runs/{run_id}": f"#/runs/{run_id}",
        f"?token={token}#/runs/{run_id}": f"#/runs/{run_id}",
        f"?theme=1&token={token}&x=2#/runs/{run_id}": f"?theme=1&x=2#/runs/{run_id}",
    }.items():
        async with new_page(chromium) as page:
            await page.goto(address(gateway, link))
            await expect(page.get_by_role("heading", name="echo")).to_be_visible()
            assert page.url == address(gateway, left)


async def test_a_token_for_one_run_leads_to_it(gateway: Gateway, page: Page) -> None:
    run_id, token = await run_and_its_token(gateway)
    await page.goto(address(gateway, f"#token={token}"))
    await expect(page.get_by_role("heading", name="echo")).to_be_visible()
    await expect(page.locator("#connection-text")).to_have_text("Complete")
    assert page.url == address(gateway, f"#/runs/{run_id}")
    await page.get_by_label("Views").get_by_role("link", name="Runs").click()
    await page.wait_for_url(address(gateway, f"#/runs/{run_id}"))
    await expect(page.get_by_role("heading", name="echo")).to_be_visible()

    # Without its run there is none to go to.
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the run").click()
    await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("A token for one run follows this run")
    await page.get_by_label("Id of a run").fill(run_id)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("There is no such run")


async def test_a_link_with_a_token_for_one_run_may_name_the_run(gateway: Gateway, page: Page) -> None:
    run_id, token = await run_and_its_token(gateway)
    await page.goto(address(gateway, f"#token={token}&/runs/{run_id}"))
    await expect(page.get_by_role("heading", name="echo")).to_be_visible()
    assert page.url == address(gateway, f"#/runs/{run_id}")


async def test_what_a_token_does_not_permit_is_told_in_words(gateway: Gateway, page: Page) -> None:
    run_id, _ = await run_and_its_token(gateway)
    await page.goto(address(gateway, f"#token={token_of('reader')}&/runs/{run_id}"))
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the run").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("does not permit this")


async def test_a_mistake_of_the_page_is_not_taken_for_a_lost_connection(gateway: Gateway, page: Page) -> None:
    await page.goto(address(gateway))
    told = await page.evaluate(
        """async () => {
            const { follow } = await import("./ui/stream.js");
            const { post } = await import("./ui/rpc.js");
            const told = [];
            addEventListener("error", (event) => (event.preventDefault(), told.push("reported")));
            const onState = (state, detail) => told.push(state, ...(detail ? [detail.constructor.name] : []));
            const { signal } = new AbortController();
            const request = () => post("runs/watch", {}, { signal, lastEventId: "\u2026" });
            await follow({ request, onMessage: () => {}, onState, signal });
            return told;
        }"""
    )
    assert told == ["connecting", "reported", "failed", "TypeError"]
