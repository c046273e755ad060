"""The access of a server, as its settings say."""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.access.access import Access, OpenAccess
from gateway.access.presented import PeerCertificate, Presented
from gateway.core.caller import Caller
from gateway.core.errors import Unauthenticated
from gateway.core.tokens import TokenParams
from gateway.server.access import open_access
from gateway.server.settings import BridgeSettings, ServeSettings, SettingsError, StartError
from gateway.server.settings_sources import load_bridge, load_serve
from tests.support.identities import AUDIENCE, ISSUER, Issuer, bearer, key_set, token_entry, token_of, write_tokens

ONE = Issuer()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "key").write_text("k" * 43, encoding="utf-8")
    (tmp_path / "keys.json").write_text(key_set(ONE), encoding="utf-8")
    return {
        "tokens": str(write_tokens(tmp_path / "tokens.toml", token_entry("team", ["reader"]))),
        "signing_key": str(tmp_path / "key"),
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_keys": str(tmp_path / "keys.json"),
        "certificates": [{"identity": "ci", "permissions": ["reader"], "namespace": "ci"}],
        "roles": {"reader": ["runs:read"]},
    }


async def identity_of(access: Access, presented: Presented) -> str | None:
    try:
        return (await access.identify(presented)).identity
    except Unauthenticated:
        return None


async def test_all_kinds_of_credentials_may_be_on_at_once(settings: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        # A worker is told its settings so.
        told = ServeSettings.model_validate_json(ServeSettings(**settings).model_dump_json())
        access = await open_access(told, stack)
        assert access.configured
        team = await access.identify(Presented(bearer(token_of("team"))))
        assert team.permissions == {"runs:read"}
        scoped = access.create_token(team, TokenParams(permissions=tuple(team.permissions))).token
        certificate = PeerCertificate((), (), "ci")
        presented = [Presented(bearer(scoped)), Presented(bearer(ONE.token())), Presented(None, None, certificate)]
        assert [await identity_of(access, each) for each in presented] == ["team", "jwt-user", "ci"]
        assert await identity_of(access, Presented()) is None


@pytest.mark.parametrize("name", ["tokens", "signing_key", "jwt", "certificates"])
async def test_any_kind_alone_lets_nobody_else_in(settings: dict[str, Any], name: str) -> None:
    async with AsyncExitStack() as stack:
        only = {key: value for key, value in settings.items() if key.startswith((name, "roles"))}
        access = await open_access(ServeSettings(**only), stack)
        assert access.configured
        assert await identity_of(access, Presented()) is None
        assert await identity_of(access, Presented("Bearer x")) is None


async def test_without_any_everybody_may_do_everything() -> None:
    async with AsyncExitStack() as stack:
        access = await open_access(ServeSettings.model_validate({"roles": {"reader": ["runs:read"]}}), stack)
        assert isinstance(access, OpenAccess)
        assert access.known(Presented()) == Caller()


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"tokens": "/nowhere"}, StartError, r"^/nowhere: No such file or directory \(--tokens\)$"),
        ({"signing_key": "/"}, StartError, r"^/: Is a directory \(--signing-key\)$"),
        ({"jwt_keys": "TOKENS"}, StartError, r"expected a JWKS: .* \(--jwt-keys\)$"),
        ({"signing_key": "TOKENS"}, StartError, r"expected .* \(--signing-key\)$"),
        ({"roles": {}}, StartError, r"tokens.toml: token 1 \('team'\): 'reader' is neither .* \(--tokens\)$"),
        (
            {"roles": {}, "tokens": None},
            SettingsError,
            r"^certificates: rule 1 \('ci'\): 'reader' is neither a permission nor a role$",
        ),
    ],
)
async def test_what_cannot_be_used_is_told_with_its_setting(
    settings: dict[str, Any], changed: Mapping[str, Any], error: type[Exception], words: str
) -> None:
    changed = {name: settings["tokens"] if value == "TOKENS" else value for name, value in changed.items()}
    async with AsyncExitStack() as stack:
        with pytest.raises(error, match=words) as raised:
            await open_access(ServeSettings(**{**settings, **changed}), stack)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"jwt_issuer": "i"}, "^jwt_issuer, jwt_audience and jwt_keys: give all three, or none$"),
        ({"jwt_issuer": "i", "jwt_keys": "k"}, "give all three"),
        ({"jwt_identity_claim": "email"}, r"^jwt_identity_claim \(from --jwt-identity-claim\): there is no jwt_keys$"),
        ({"jwt_algorithms": ["HS256"]}, "expected some of RS256, .*, got 'HS256'"),
        ({"jwt_algorithms": "none"}, "got 'none'"),
        ({"jwt_keys": "http://issuer.example/keys"}, "http is for loopback addresses alone"),
        ({"jwt_keys": "ftp://localhost/keys"}, "expected a file, or https"),
        ({"jwt_keys": "https://user:secret@issuer.example/keys"}, "expected a file, or https"),
        ({"roles": {"runs:read": ["runs:read"]}}, "not that of a permission"),
        ({"roles": {"reader": ["runs:everything"]}}, "expected 'runs:submit'"),
        ({"certificates": [{"identity": "a"}]}, "certificates.0.permissions .*: is needed"),
    ],
)
@pytest.mark.parametrize("server", ["serve", "bridge"])
def test_settings_that_let_too_many_in_are_refused(server: str, given: dict[str, Any], words: str) -> None:
    needed = {"engine": "http://a:1", "queue": "q", "components": {"/a": "http://b"}}
    load = partial(load_serve, given) if server == "serve" else partial(load_bridge, {**needed, **given})
    with pytest.raises(SettingsError, match=words) as error:
        load({})
    assert "secret" not in str(error.value)


def test_keys_by_http_are_for_tests_on_the_same_machine() -> None:
    given = {"jwt_issuer": "i", "jwt_audience": "a", "jwt_algorithms": "PS256, ES384"}
    for url in ("http://127.0.0.1:9/keys", "http://localhost/keys", "http://[::1]:8/keys", "https://a/keys"):
        settings = load_serve({**given, "jwt_keys": url}, {})
        assert (settings.jwt_keys, settings.jwt_algorithms) == (url, ("PS256", "ES384"))


def test_a_bridge_has_the_same_identities(settings: dict[str, Any]) -> None:
    bridge = BridgeSettings(engine="http://a:1", queue="q", components={"/a": "http://b"}, **settings)
    serve = bridge.as_serve().model_dump()
    assert {name: serve[name] for name in settings} == {name: bridge.model_dump()[name] for name in settings}


def test_settings_hold_no_secrets(settings: dict[str, Any]) -> None:
    text = json.dumps(ServeSettings(**settings).model_dump(mode="json"))
    assert "k" * 43 not in text
    assert token_of("team") not in text
