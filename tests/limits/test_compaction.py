"""A JSON blob is made compact in short steps, and what is held of it meanwhile is drawn before."""

import json
import sys
import tracemalloc
from collections.abc import Callable

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core import compact_json
from gateway.core.compact_json import WINDOW, compact
from gateway.core.errors import Overloaded
from gateway.core.long_strings import PART
from gateway.core.model import Blob, BlobType
from gateway.storage.blob_names import named

SIZE = 1 << 20

BLOBS: dict[str, Callable[[], str]] = {
    "white space": lambda: "[1," + " " * SIZE + "2]",
    "white space around each": lambda: "[" + "1 , " * (SIZE // 4) + "1]",
    "escapes": lambda: '["' + "\\u00e9" * (SIZE // 6) + '"]',
    "wide characters": lambda: '["\\n\\u00e9' + "😀" * (SIZE // 4) + '"]',
    "deep": lambda: "[ " * 900 + "1" * SIZE + " ]" * 900,
    "one string": lambda: '[ "' + "x" * SIZE + '"]',
    "digits": lambda: "[ " + "1" * SIZE + ", 0." + "1" * SIZE + "]",
    "decimals": lambda: json.dumps([number / 7 + 1e20 for number in range(SIZE // 24)]),
}


class CountedAccount(MemoryAccount):
    """Notes the most that it has held."""

    most = 0

    def fits(self, share: int, size: int, small: int = 0) -> bool:
        fits = super().fits(share, size, small)
        if fits:
            self.most = max(self.most, self.held + size)
        return fits


@pytest.mark.parametrize("name", BLOBS)
async def test_what_is_held_is_drawn_and_given_back(name: str) -> None:
    blob, account = Blob(BLOBS[name](), BlobType.DATA), CountedAccount()
    await named(blob, account.share())
    tracer = sys.gettrace()
    sys.settrace(None)  # Where lines are traced, strings are copied that otherwise grow in place.
    tracemalloc.start()
    try:
        await named(blob, MemoryAccount().share())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        sys.settrace(tracer)
    assert account.held == 0
    # Strings are put together in parts, of up to four bytes for a character.
    assert peak <= account.most + (512 << 10) + (0 if blob.content.isascii() else 4 * PART)
    assert peak <= 3.2 * sys.getsizeof(blob.content)


async def test_what_does_not_fit_is_refused_and_holds_nothing() -> None:
    account = MemoryAccount(SIZE)
    with pytest.raises(Overloaded):
        await named(Blob(BLOBS["one string"](), BlobType.DATA), account.share())
    assert account.held == 0


@pytest.mark.parametrize("name", BLOBS)
def test_no_step_is_long(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = 0

    def counting(make: Callable[[str], str]) -> Callable[[str], str]:
        def counted(text: str) -> str:
            nonlocal work
            work += len(text)
            return make(text)

        return counted

    for function in ("_compact_run", "_string"):
        monkeypatch.setattr(compact_json, function, counting(getattr(compact_json, function)))
    steps = 0
    for _ in compact(BLOBS[name]()):
        assert work <= 2 * WINDOW
        work = 0
        steps += 1
    assert steps >= SIZE // WINDOW // 8
