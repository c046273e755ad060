"""The access of a gateway with identities."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.presented import Presented
from gateway.access.tokens_file import MAX_TOKENS_FILE, KnownTokens, read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.core.caller import ALL, Caller, CallerView
from gateway.core.errors import PermissionDenied, Unauthenticated
from gateway.core.owner import Permission
from tests.support.identities import bearer, token_entry, token_of, write_tokens

ROLES = Roles({"reader": (Permission.READ, Permission.READ_BLOBS)})


def watched(file: Path) -> WatchedFile[KnownTokens]:
    return WatchedFile(str(file), partial(read_tokens, roles=ROLES), MAX_TOKENS_FILE)


def access_of(file: Path) -> ConfiguredAccess:
    return ConfiguredAccess(tokens=watched(file))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write_tokens(
        tmp_path / "tokens.toml",
        token_entry("team-a", ["reader"], ["a", "a2"]),
        token_entry("nobody-special", ["runs:submit"]),
        token_entry("root", ["admin"]),
        token_entry("old", expires=(datetime.now(UTC) - timedelta(seconds=1)).isoformat()),
    )


def presented(name: str, namespace: str | None = None) -> Presented:
    return Presented(bearer(token_of(name)), namespace)


def test_a_token_tells_an_identity_its_permissions_and_its_namespaces(tokens: Path) -> None:
    access = access_of(tokens)
    caller = access.known(presented("team-a"))
    assert caller is not None
    assert (caller.identity, caller.view, caller.namespaces) == ("team-a", CallerView("a"), ("a", "a2"))
    assert caller.permissions == {Permission.READ, Permission.READ_BLOBS}
    assert access.known(presented("team-a")) is caller
    other = access.known(presented("nobody-special"))
    assert other is not None
    assert other.view == CallerView("default")
    assert other.permissions == {Permission.SUBMIT}


def test_a_caller_names_a_namespace_of_its_own(tokens: Path) -> None:
    access = access_of(tokens)
    caller = access.known(presented("team-a", "a2"))
    assert caller is not None
    assert caller.view == CallerView("a2")
    for namespace in ("b", "default", "A2", "", "a" * 64, "a\n"):
        with pytest.raises(PermissionDenied, match=r"^the namespace is none of the caller's$"):
            access.known(presented("team-a", namespace))


def test_an_admin_sees_all_or_the_namespace_that_it_names(tokens: Path) -> None:
    access = access_of(tokens)
    everything, one = access.known(presented("root")), access.known(presented("root", "any"))
    assert everything is not None
    assert one is not None
    assert (everything.view, one.view) == (ALL, CallerView("any"))
    with pytest.raises(PermissionDenied):
        access.known(presented("root", "No Namespace"))


@pytest.mark.parametrize("namespace", [None, "a", "other"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        token_of("team-a"),
        bearer("rgw_unknown"),
        bearer(token_of("old")),
        f"Basic {token_of('team-a')}",
        f"{bearer(token_of('team-a'))}, {bearer(token_of('team-a'))}",
        f"{bearer(token_of('team-a'))} ",
        f"{bearer(token_of('team-a'))}\n",
        bearer("x" * 100_000),
    ],
)
async def test_all_others_are_refused_in_the_same_words(
    tokens: Path, authorization: str | None, namespace: str | None
) -> None:
    access = access_of(tokens)
    refused = pytest.raises(Unauthenticated, match=r"^credentials are missing, or are not accepted$")
    with refused:
        access.known(Presented(authorization, namespace))
    with refused:
        await access.identify(Presented(authorization, namespace))


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_has_no_case(tokens: Path, scheme: str) -> None:
    assert access_of(tokens).known(Presented(f"{scheme}{token_of('root')}")) is not None


def test_a_caller_that_is_remembered_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_tokens(tmp_path / "tokens.toml", token_entry("brief", expires="2030-01-01T00:00:00Z"))
    access = access_of(file)
    assert access.known(presented("brief")) is not None
    monkeypatch.setattr(time, "time", lambda: datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    with pytest.raises(Unauthenticated):
        access.known(presented("brief"))


async def until_known(access: ConfiguredAccess, asked: Presented) -> Caller:
    while True:
        with suppress(Unauthenticated):
            return await access.identify(asked)
        await asyncio.sleep(0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.access.configured_access.LOOK_SECONDS", 0)


@pytest.mark.usefixtures("often")
async def test_a_token_that_is_removed_from_the_file_is_refused(tokens: Path) -> None:
    file = watched(tokens)
    access = ConfiguredAccess(tokens=file)
    access.follow([file])
    assert access.known(presented("team-a")) is not None
    write_tokens(tokens, token_entry("team-b"))
    assert (await until_known(access, presented("team-b"))).identity == "team-b"
    with pytest.raises(Unauthenticated):
        access.known(presented("team-a"))
    await access.close()
