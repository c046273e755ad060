"""Texts become bytes and texts again, also in parts."""

import asyncio

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded
from gateway.storage.object_texts import from_bytes, rest_of, to_bytes

TEXTS = ["", "short", "x" * 300_000, "é😀" * 100_000, "x" * 65_535 + "é" * 10]


@pytest.mark.parametrize("text", TEXTS, ids=len)
async def test_a_text_comes_back_from_behind_other_bytes(text: str) -> None:
    account = MemoryAccount()
    with account.share().hold() as hold:
        data = await to_bytes(text, hold, b"before")
    assert data == b"before" + text.encode()
    assert await from_bytes(data, 6) == text
    assert await rest_of(data, 6) == text.encode()
    assert account.held == 0


@pytest.mark.parametrize("data", [b"\xff", b"x" * 100_000 + b"\xe2\x82", b"\xff" + b"x" * 100_000], ids=len)
async def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        await from_bytes(data)


async def test_a_text_without_room_is_refused() -> None:
    with MemoryAccount(1 << 20).share().hold() as hold, pytest.raises(Overloaded):
        await to_bytes("x" * 1_000_000, hold)


async def test_everything_else_has_its_turn_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.concurrency.time_slice.SLICE_SECONDS", 0.0)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(count_turns())
    text = "é" * (10 << 16)
    with MemoryAccount().share().hold() as hold:
        data = await to_bytes(text, hold)
        assert turns >= 10
        turns = 0
        assert await from_bytes(data) == text
        assert turns >= 20
    others.cancel()
