"""What telling callers costs: in memory, in signatures that are verified, and in work on the event loop."""

import gc
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from jwt.algorithms import ECAlgorithm

from gateway.access.bearer import MAX_TOKEN
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.issuer_tokens import ExpectedClaims, IssuerTokens, KeySource
from gateway.access.key_set import KeySet, read_key_set
from gateway.access.presented import Presented
from gateway.access.tokens_file import MAX_TOKENS_FILE, KnownTokens, read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.core.errors import GatewayError, PermissionDenied, Unauthenticated
from tests.support.identities import AUDIENCE, ISSUER, Issuer, bearer, key_set, token_entry, token_of, write_tokens

ONE = Issuer("ES256")
ES512 = Issuer("ES512")


class Keys(KeySource):
    """The keys of one issuer."""

    def __init__(self, issuer: Issuer) -> None:
        self._keys = read_key_set(key_set(issuer).encode(), ("ES256", "ES512"))

    @property
    def keys(self) -> KeySet:
        return self._keys

    async def refresh(self) -> None:
        """There are no others."""


def access_of(issuer: Issuer = ONE) -> ConfiguredAccess:
    expected = ExpectedClaims(ISSUER, AUDIENCE, ("ES256", "ES512"))
    return ConfiguredAccess(issuer=IssuerTokens(expected, Keys(issuer), Roles({})))


class Verified:
    """Counts the signatures that are verified, and in which threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[int] = []
        verify = ECAlgorithm.verify

        def counted(*arguments: Any) -> bool:
            self.threads.append(threading.get_ident())
            return verify(*arguments)

        monkeypatch.setattr(ECAlgorithm, "verify", counted)

    def of(self) -> int:
        """How many there were since it was asked for last."""
        number = len(self.threads)
        self.threads.clear()
        return number


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Verified:
    return Verified(monkeypatch)


def tokens_in(file: Path) -> WatchedFile[KnownTokens]:
    return WatchedFile(str(file), lambda content: read_tokens(content, Roles({})), MAX_TOKENS_FILE)


def test_a_token_is_verified_once_while_it_is_remembered(verified: Verified) -> None:
    access, presented = access_of(), Presented(bearer(ONE.token()))
    for _ in range(100):
        assert access.known(presented) is not None
    assert verified.of() == 1


async def test_each_refusal_of_a_token_costs_one_signature(verified: Verified) -> None:
    """Which of them is wrong cannot be told by the time that the answer takes. Those without a chance cost none."""
    access, wrong = access_of(), ONE.wrong_tokens()
    wrong["unknown key"] = Issuer("ES256", "key-9").token()
    cheap = {"malformed", "alg: none", "symmetric with the public key"}
    for name, token in wrong.items():
        with pytest.raises(Unauthenticated):
            await access.identify(Presented(bearer(token)))
        assert verified.of() == (0 if name in cheap else 1), name


async def test_what_takes_long_is_verified_off_the_event_loop(verified: Verified) -> None:
    access = access_of(ES512)
    await access.identify(Presented(bearer(ES512.token())))
    long = ONE.token(pad="x" * 5_000)
    assert len(long) < MAX_TOKEN
    await access_of().identify(Presented(bearer(long)))
    assert len(verified.threads) == 2
    assert threading.get_ident() not in verified.threads


def test_callers_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.access.configured_access.MAX_CALLERS", 10)
    access = ConfiguredAccess(tokens=tokens_in(write_tokens(tmp_path / "t", token_entry("root", ["admin"]))))
    for number in range(1_000):
        access.known(Presented(bearer(token_of("root")), f"n{number}"))
    assert len(access._callers) == 10


def test_callers_are_remembered_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token may name many namespaces, or have long labels."""
    monkeypatch.setattr("gateway.access.configured_access.MAX_CALLER_BYTES", 20_000)
    access = access_of()
    for number in range(20):
        token = ONE.token(jti=str(number), namespace=[f"a-namespace-with-a-long-name-{n}" for n in range(40)])
        assert access.known(Presented(bearer(token))) is not None
    assert 1 < len(access._callers) < 15


def refusals() -> int:
    """How many errors there are in memory."""
    return sum(isinstance(each, GatewayError) for each in gc.get_objects())


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    entries = token_entry("a"), token_entry("old", expires="2020-01-01T00:00:00Z")
    access = ConfiguredAccess(tokens=tokens_in(write_tokens(tmp_path / "t", *entries)))
    asked = [
        Presented(bearer(token_of("old"))),
        Presented(bearer(token_of("a")), "foreign"),
        Presented("x"),
        Presented(),
    ]
    asked += [Presented(bearer(f"rgw_{number}")) for number in range(100)]
    gc.collect()
    before = refusals()
    gc.disable()
    try:
        for presented in asked:
            with pytest.raises((Unauthenticated, PermissionDenied)):
                access.known(presented)
        left = refusals() - before
    finally:
        gc.enable()
    assert len(access._callers) == 0
    assert left <= 1


def test_a_remembered_token_costs_few_steps(tmp_path: Path) -> None:
    """Each call pays for it: a hash, a look-up, and a look at the clock."""
    access = ConfiguredAccess(tokens=tokens_in(write_tokens(tmp_path / "t", token_entry("a"))))
    presented = Presented(bearer(token_of("a")))
    access.known(presented)
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        access.known(presented)
    finally:
        sys.setprofile(None)
    assert calls <= 15
