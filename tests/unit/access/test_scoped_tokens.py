"""Tokens that gateways make."""

import time
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.configured_access import ConfiguredAccess
from gateway.access.presented import Presented
from gateway.access.scoped_tokens import MAX_KEYS_FILE, TOKEN_TYPE, ScopedTokens, SigningKeys, read_signing_keys
from gateway.access.watched_file import WatchedFile
from gateway.core.caller import ALL, EVERYTHING, Caller, CallerView
from gateway.core.errors import InvalidParams, InvalidRunId, PermissionDenied, Unauthenticated, Unsupported
from gateway.core.owner import Permission
from gateway.core.tokens import TokenParams
from tests.support.identities import bearer, forged

KEY, OTHER = "k" * 32, "o" * 40
RUN = str(uuid4())
READ = (Permission.READ,)
TEAM = Caller("team", CallerView("a"), frozenset({Permission.READ, Permission.SUBMIT}), ("a", "a2"))
ADMIN = Caller("root", ALL, frozenset({Permission.ADMIN}), ("default",))


def key_file(directory: Path, *keys: str) -> WatchedFile[SigningKeys]:
    file = directory / f"{uuid4()}.key"
    file.write_text("\n".join(keys), encoding="utf-8")
    return WatchedFile(str(file), read_signing_keys, MAX_KEYS_FILE)


@pytest.fixture
def tokens(tmp_path: Path) -> ScopedTokens:
    return ScopedTokens(key_file(tmp_path, KEY))


def test_a_token_is_for_what_was_asked_and_for_a_quarter_of_an_hour(tokens: ScopedTokens) -> None:
    labels = {"team": "x", "env": "prod"}
    before = time.time()
    created = tokens.create(TEAM, TokenParams(permissions=READ, namespace="a2", labels=labels))
    after = time.time()
    caller = tokens.caller(created.token)
    assert (caller.identity, caller.namespaces) == ("team", ("a2",))
    assert caller.view == CallerView("a2", None, (("env", "prod"), ("team", "x")))
    assert caller.permissions == set(READ)
    assert caller.expires is not None
    assert before + 899 <= caller.expires <= after + 900
    assert created.expires_at == int(caller.expires * 1e9)
    assert created.token not in f"{created} {created!r} {[created]}"


def test_a_token_for_a_run_reads_it_alone(tokens: ScopedTokens) -> None:
    caller = tokens.caller(tokens.create(TEAM, TokenParams(permissions=READ, run_id=RUN.upper())).token)
    assert caller.view == CallerView("a", RUN)


def test_an_admin_grants_anything_but_admin(tokens: ScopedTokens) -> None:
    every = tuple(EVERYTHING - {Permission.ADMIN})
    caller = tokens.caller(tokens.create(ADMIN, TokenParams(permissions=every, namespace="any")).token)
    assert caller.view == CallerView("any")
    assert caller.permissions == set(every)
    assert tokens.caller(tokens.create(ADMIN, TokenParams(permissions=READ)).token).view == CallerView("default")
    with pytest.raises(InvalidParams, match="not granted"):
        tokens.create(ADMIN, TokenParams(permissions=(Permission.ADMIN,)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (TokenParams(permissions=(Permission.READ, Permission.CANCEL)), "the permission runs:cancel is missing"),
        (TokenParams(permissions=READ, namespace="b"), "the namespace is none of the caller's"),
        (TokenParams(permissions=READ, namespace="No Name"), "the namespace is none of the caller's"),
    ],
)
def test_what_the_caller_does_not_hold_is_not_granted(tokens: ScopedTokens, params: TokenParams, message: str) -> None:
    with pytest.raises(PermissionDenied, match=message):
        tokens.create(TEAM, params)


def test_a_token_makes_no_token_for_more(tokens: ScopedTokens) -> None:
    narrow = TokenParams(permissions=READ, labels={"team": "x"}, lifetime=60.0)
    caller = tokens.caller(tokens.create(TEAM, narrow).token)
    wider = tokens.caller(tokens.create(caller, TokenParams(permissions=READ, labels={"env": "y"})).token)
    assert wider.view.labels == (("env", "y"), ("team", "x"))
    assert caller.expires is not None
    assert wider.expires == pytest.approx(caller.expires)
    with pytest.raises(PermissionDenied, match="other labels"):
        tokens.create(caller, TokenParams(permissions=READ, labels={"team": "z"}))
    with pytest.raises(PermissionDenied, match="namespace"):
        tokens.create(caller, TokenParams(permissions=READ, namespace="a2"))
    one = tokens.caller(tokens.create(TEAM, TokenParams(permissions=READ, run_id=RUN)).token)
    assert tokens.caller(tokens.create(one, TokenParams(permissions=READ)).token).view.run_id == RUN
    with pytest.raises(PermissionDenied, match="another run"):
        tokens.create(one, TokenParams(permissions=READ, run_id=str(uuid4())))


def test_what_has_no_meaning_is_refused(tokens: ScopedTokens) -> None:
    with pytest.raises(InvalidParams, match="twice"):
        tokens.create(TEAM, TokenParams(permissions=READ * 2))
    with pytest.raises(InvalidParams, match="submits no others"):
        tokens.create(TEAM, TokenParams(permissions=(Permission.SUBMIT,), run_id=RUN))
    with pytest.raises(InvalidRunId):
        tokens.create(TEAM, TokenParams(permissions=READ, run_id="run"))
    with pytest.raises(InvalidParams, match="too long"):
        tokens.create(TEAM, TokenParams(permissions=READ, labels={f"{n}" * 200: "v" * 255 for n in range(20)}))
    scoped = Caller("x", CallerView("a", None, tuple((str(n), "") for n in range(20))), frozenset(READ), ("a",))
    with pytest.raises(InvalidParams, match="at most 32"):
        tokens.create(scoped, TokenParams(permissions=READ, labels={f"l{n}": "" for n in range(20)}))


@given(
    st.sets(st.sampled_from(list(Permission)), min_size=1),
    st.sampled_from([None, "a", "a2", "b", ""]),
    st.sampled_from([None, RUN]),
    st.dictionaries(st.sampled_from(["l", "m"]), st.sampled_from(["1", "2"])),
    st.floats(0.1, 86_400),
    st.sampled_from(
        [
            TEAM,
            ADMIN,
            Caller("one", CallerView("a", RUN), frozenset(READ), ("a",), time.time() + 1_000),
            Caller("some", CallerView("a", None, (("l", "1"),)), frozenset(READ), ("a",)),
        ]
    ),
)
def test_no_token_is_for_more_than_its_maker_has(permissions, namespace, run_id, labels, lifetime, maker) -> None:
    tokens = ScopedTokens(_IN_MEMORY)
    asked = TokenParams(
        permissions=tuple(permissions), namespace=namespace, run_id=run_id, labels=labels, lifetime=lifetime
    )
    try:
        created = tokens.create(maker, asked)
    except (PermissionDenied, InvalidParams):
        return
    caller = tokens.caller(created.token)
    assert Permission.ADMIN not in caller.permissions
    assert maker is ADMIN or caller.permissions <= maker.permissions
    assert maker is ADMIN or set(caller.namespaces) <= set(maker.namespaces)
    assert caller.view.namespace in caller.namespaces
    assert maker.view.run_id in (None, caller.view.run_id)
    assert set(maker.view.labels) <= set(caller.view.labels)
    assert caller.expires is not None
    assert caller.expires <= min(time.time() + lifetime, maker.expires or time.time() + 86_400) + 0.001


class _InMemory(WatchedFile[SigningKeys]):
    def __init__(self) -> None:
        self.value = SigningKeys([KEY.encode()])


_IN_MEMORY = _InMemory()


async def test_a_gateway_with_the_key_accepts_it_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (ConfiguredAccess(scoped=ScopedTokens(key_file(tmp_path, KEY))) for _ in range(2))
    elsewhere = ConfiguredAccess(scoped=ScopedTokens(key_file(tmp_path, OTHER)))
    created = here.create_token(TEAM, TokenParams(permissions=READ))
    presented = Presented(bearer(created.token))
    caller = there.known(presented)
    assert caller is not None
    assert caller.view == CallerView("a")
    with pytest.raises(Unauthenticated):
        elsewhere.known(presented)
    with pytest.raises(PermissionDenied):
        there.known(Presented(bearer(created.token), "a2"))
    moment = created.expires_at / 1e9
    monkeypatch.setattr(time, "time", lambda: moment + 0.001)
    with pytest.raises(Unauthenticated):
        there.known(presented)
    with pytest.raises(Unauthenticated):
        here.known(presented)


def test_keys_are_replaced_in_steps(tmp_path: Path) -> None:
    old, both, new = (ScopedTokens(key_file(tmp_path, *keys)) for keys in ((KEY,), (OTHER, KEY), (OTHER,)))
    params = TokenParams(permissions=READ)
    assert both.caller(old.create(TEAM, params).token).identity == "team"
    assert new.caller(both.create(TEAM, params).token).identity == "team"
    with pytest.raises(Unauthenticated):
        new.caller(old.create(TEAM, params).token)


CLAIMS = {"sub": "x", "ns": "a", "permissions": ["runs:read"], "exp": time.time() + 80_000}


@pytest.mark.parametrize(
    ("head", "claims"),
    [
        ({"typ": "JWT"}, {}),
        ({"typ": TOKEN_TYPE, "alg": "none"}, {}),
        ({"typ": TOKEN_TYPE, "alg": "HS512"}, {}),
        ({"typ": TOKEN_TYPE, "crit": ["exp"]}, {}),
        ({"typ": TOKEN_TYPE, "crit": []}, {}),
        ({"typ": TOKEN_TYPE, "b64": False}, {}),
        ({"typ": TOKEN_TYPE}, {"exp": None}),
        ({"typ": TOKEN_TYPE}, {"exp": 1}),
        ({"typ": TOKEN_TYPE}, {"exp": float("inf")}),
        ({"typ": TOKEN_TYPE}, {"permissions": ["everything"]}),
        ({"typ": TOKEN_TYPE}, {"permissions": "runs:read"}),
        ({"typ": TOKEN_TYPE}, {"permissions": ["admin"]}),
        ({"typ": TOKEN_TYPE}, {"ns": "No Name"}),
        ({"typ": TOKEN_TYPE}, {"more": 1}),
        ({"typ": TOKEN_TYPE}, {"sub": 1}),
    ],
)
def test_nothing_else_is_taken_for_a_token(tmp_path: Path, head: dict, claims: dict) -> None:
    access = ConfiguredAccess(scoped=ScopedTokens(key_file(tmp_path, KEY)))
    whole = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    with pytest.raises(Unauthenticated):
        access.known(Presented(bearer(forged({"alg": "HS256", **head}, whole, KEY.encode()))))
    assert access.known(Presented(bearer(forged({"alg": "HS256", "typ": TOKEN_TYPE}, CLAIMS, KEY.encode()))))


def test_a_token_without_a_signature_is_none(tmp_path: Path) -> None:
    access = ConfiguredAccess(scoped=ScopedTokens(key_file(tmp_path, KEY)))
    token = access.create_token(TEAM, TokenParams(permissions=READ)).token
    for text in (token.rpartition(".")[0] + ".", token[:-2], f"{token}A", token.rpartition(".")[0]):
        with pytest.raises(Unauthenticated):
            access.known(Presented(bearer(text)))


@pytest.mark.parametrize("text", ["", "\n\n", "k" * 31, f"{KEY}\nshort", "\n".join([KEY] * 17), "-----BEGIN " + KEY])
def test_keys_that_cannot_be_used_are_refused(text: str) -> None:
    content = "-----BEGIN PUBLIC KEY-----" if text.startswith("-") else text
    with pytest.raises(ValueError, match="key") as error:
        read_signing_keys(content.encode())
    assert KEY not in str(error.value)


def test_no_text_shows_a_key() -> None:
    keys = read_signing_keys(f"{KEY}\n".encode())
    assert KEY not in repr(keys) + str(keys)
    assert jwt.get_unverified_header(keys.sign({}))["typ"] == TOKEN_TYPE


def test_without_a_key_there_are_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no signing key"):
        ConfiguredAccess().create_token(TEAM, TokenParams(permissions=READ))
