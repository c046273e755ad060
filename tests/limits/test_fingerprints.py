"""The fingerprint of a submit: what is held while it is made is drawn before, and no step is long."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from gateway.concurrency.memory_account import MemoryAccount, MemoryShare
from gateway.core import canonical_json, forms, member_buckets
from gateway.core.errors import Overloaded
from gateway.core.long_forms import form_of
from gateway.core.model import SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.storage.fingerprint import fingerprint

FLOW = "sha256:" + "ab" * 32
MANY = 40_000

LONG: dict[str, Callable[[], str]] = {
    "many members": lambda: json.dumps({f"name {number}": number for number in range(MANY)}),
    "one name repeated": lambda: "{" + ",".join(f'"a":{number}' for number in range(MANY)) + "}",
    "objects in it": lambda: json.dumps({f"name {number}": {"b": [number] * 9} for number in range(MANY // 8)}),
    "long names": lambda: json.dumps({f"{number}" * 3_000: number for number in range(100)}),
    "decimals": lambda: json.dumps({f"name {number}": number / 8 for number in range(MANY // 4)}),
}


class CountedShare(MemoryShare):
    """A share that notes the most that it has held."""

    __slots__ = ("most",)

    def __init__(self, account: MemoryAccount) -> None:
        super().__init__(account, 0, account.uses["other"])
        self.most = 0

    def take(self, size: int) -> None:
        super().take(size)
        self.most = max(self.most, self.held)


def submit(text: str, **params: Any) -> SubmitParams:
    inputs = PackedTexts()
    inputs.extend([text])
    return SubmitParams(flow_id=FLOW, inputs=inputs, idempotency_key="k", **params)


@pytest.mark.parametrize("name", LONG)
async def test_what_is_held_is_drawn_and_given_back(name: str) -> None:
    params, share = submit(LONG[name]()), CountedShare(MemoryAccount())
    await fingerprint(params, share=share)
    tracemalloc.start()
    try:
        await fingerprint(params)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert share.held == 0
    assert peak <= 2 * share.most + (128 << 10)


@pytest.mark.parametrize("field", ["inputs", "variables", "overrides"])
async def test_what_does_not_fit_is_refused_and_holds_nothing(field: str) -> None:
    text = LONG["many members"]()
    given: dict[str, Any] = {"inputs": {}, "variables": {"variables": {"v": text}}, "overrides": {"overrides": text}}
    params = submit(text if field == "inputs" else "1", **given[field])
    account = MemoryAccount(len(text) // 2)
    share = account.share()
    with pytest.raises(Overloaded):
        await fingerprint(params, share=share)
    assert share.held == account.held == 0


@pytest.mark.parametrize("name", LONG)
def test_no_step_is_long(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps, parsers get a few kilobytes, and few members are looked at."""
    work = members = 0

    def counting(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counted(text: Any) -> Any:
            nonlocal work, members
            work += len(text)
            decoded = decode(text)
            members += len(decoded) if isinstance(decoded, dict) else 0
            return decoded

        return counted

    class Parser:
        def __init__(self, decode: Callable[[Any], Any]) -> None:
            self.decode = counting(decode)

    for module in (canonical_json, forms, member_buckets):
        for decoder in ("_PLAIN_DECODER", "_DECODER", "_RESPELLING_DECODER", "_MEMBERS"):
            if hasattr(module, decoder):
                monkeypatch.setattr(module, decoder, Parser(getattr(module, decoder).decode))
    for _ in form_of(LONG[name]()):
        assert work <= 24 << 10
        assert members <= 1_300
        work = members = 0
