"""JWTs of an issuer."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.issuer_tokens import ExpectedClaims, IssuerTokens, KeySource
from gateway.access.key_set import KeySet, read_key_set
from gateway.access.presented import Presented
from gateway.core.caller import ALL, Caller, CallerView
from gateway.core.errors import Unauthenticated
from gateway.core.owner import Permission
from tests.support.identities import AUDIENCE, ISSUER, Issuer, bearer, forged, key_set

ALGORITHMS = ("RS256", "ES256", "ES512", "EdDSA")
EXPECTED = ExpectedClaims(ISSUER, AUDIENCE, ALGORITHMS)
ROLES = Roles({"reader": (Permission.READ, Permission.READ_BLOBS)})
ONE = Issuer("ES256")


class Keys(KeySource):
    """Keys, and others that are there when they are asked for anew."""

    def __init__(self, *issuers: Issuer, later: Issuer | None = None) -> None:
        self._keys = read_key_set(key_set(*issuers).encode(), ALGORITHMS)
        self._later = later
        self.asked = 0

    @property
    def keys(self) -> KeySet:
        return self._keys

    async def refresh(self) -> None:
        self.asked += 1
        if self._later is not None:
            self._keys = read_key_set(key_set(self._later).encode(), ALGORITHMS)


def access_of(keys: KeySource, expected: ExpectedClaims = EXPECTED) -> ConfiguredAccess:
    return ConfiguredAccess(issuer=IssuerTokens(expected, keys, ROLES))


async def told(token: str, expected: ExpectedClaims = EXPECTED) -> Caller:
    return await access_of(Keys(ONE), expected).identify(Presented(bearer(token)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_the_issuer_tells_the_caller(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    token = issuer.token(permissions=["reader", "runs:cancel", "openid"], namespace=["a", "b"])
    access = access_of(Keys(issuer))
    caller = await access.identify(Presented(bearer(token)))
    assert (caller.identity, caller.view, caller.namespaces) == ("jwt-user", CallerView("a"), ("a", "b"))
    assert caller.permissions == {"runs:read", "blobs:read", "runs:cancel"}
    assert access.known(Presented(bearer(token))) is caller


def test_a_token_is_verified_at_once_where_that_is_quick() -> None:
    assert access_of(Keys(ONE)).known(Presented(bearer(ONE.token()))) is not None
    assert access_of(Keys(ONE)).known(Presented(bearer(ONE.token(pad="x" * 4_000)))) is None
    heavy = Issuer("ES512")
    assert access_of(Keys(heavy)).known(Presented(bearer(heavy.token()))) is None


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_wrong_tokens_are_refused_in_the_same_words(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    access = access_of(Keys(issuer))
    for wrong in issuer.wrong_tokens().values():
        with pytest.raises(Unauthenticated, match=r"^credentials are missing, or are not accepted$"):
            await access.identify(Presented(bearer(wrong)))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"aud": None},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
        {"sub": 7},
        {"aud": ["other", "another"]},
        {"aud": f"{AUDIENCE}x"},
        {"iss": f"{ISSUER}/"},
        {"iss": [ISSUER]},
        {"exp": "soon"},
        {"exp": "9999999999"},
        {"exp": 1e300},
        {"exp": float("inf")},
        {"exp": True},
        {"nbf": "x"},
        {"iat": time.time() + 80_000},
        {"namespace": "Team A"},
        {"namespace": ["a", "../b"]},
        {"namespace": []},
        {"namespace": 3},
        {"namespace": [f"n{n}" for n in range(101)]},
    ],
)
async def test_claims_that_are_not_right_are_refused(claims: dict[str, Any]) -> None:
    issuer, payload = ONE, ONE.claims(**claims)
    token = jwt.api_jws.encode(jwt.PyJWT()._encode_payload(payload), issuer.key, "ES256", headers={"kid": issuer.kid})
    with pytest.raises(Unauthenticated):
        await told(token)


@pytest.mark.parametrize(
    ("head", "accepted"),
    [
        ({"typ": "at+jwt"}, True),
        ({"typ": "AT+JWT"}, True),
        ({"typ": None}, True),
        ({"jku": "https://evil.example/keys", "x5u": "file:///etc/passwd"}, True),
        ({"typ": "logout+jwt"}, False),
        ({"crit": ["exp"], "exp": 1}, False),
        ({"crit": []}, False),
        ({"b64": True, "crit": ["b64"]}, False),
        ({"kid": "../../etc/passwd"}, False),
        ({"kid": "https://evil.example/keys"}, False),
        ({"kid": "KEY-1"}, False),
    ],
)
async def test_the_head_is_not_trusted(head: dict[str, Any], accepted: bool) -> None:
    keys = Keys(ONE)
    whole = {name: value for name, value in {"alg": "ES256", "kid": "key-1", "typ": "JWT", **head}.items() if value}
    signed = forged({**whole, **({"crit": []} if head.get("crit") == [] else {})}, ONE.claims()).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), ONE.key)
    token = f"{signed}.{jwt.utils.base64url_encode(signature).decode()}"
    asked = access_of(keys).identify(Presented(bearer(token)))
    if accepted:
        assert (await asked).identity == "jwt-user"
    else:
        with pytest.raises(Unauthenticated):
            await asked


async def test_clocks_may_differ_by_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    assert (await told(ONE.token(exp=now - 30, nbf=now + 30, iat=now + 30))).identity == "jwt-user"
    access, token = access_of(Keys(ONE)), ONE.token(exp=now + 10)
    caller = access.known(Presented(bearer(token)))
    assert caller is not None
    assert caller.expires == now + 70
    monkeypatch.setattr(time, "time", lambda: now + 70)
    with pytest.raises(Unauthenticated):
        access.known(Presented(bearer(token)))


async def test_claims_are_mapped() -> None:
    expected = EXPECTED._replace(identity="email", permissions="/realm/roles", namespace="/kubernetes.io/name~1space")
    claims: dict[str, Any] = {"email": "a@x", "realm": {"roles": ["reader"]}, "kubernetes.io": {"name/space": "team"}}
    caller = await told(ONE.token(**claims, permissions=["admin"]), expected)
    assert (caller.identity, caller.view) == ("a@x", CallerView("team"))
    assert caller.permissions == {"runs:read", "blobs:read"}
    scopes = EXPECTED._replace(permissions="scope")
    caller = await told(ONE.token(scope="openid runs:read  runs:cancel"), scopes)
    assert caller.permissions == {"runs:read", "runs:cancel"}
    assert (await told(ONE.token(permissions=["admin"], namespace="x"))).view == ALL


@pytest.mark.parametrize("permissions", [None, 1, {"runs:read": 1}, ["runs:read", 1], [["runs:read"]], "", []])
async def test_a_claim_of_another_kind_permits_nothing(permissions: object) -> None:
    assert (await told(ONE.token(permissions=permissions))).permissions == frozenset()


async def test_a_key_that_is_not_known_is_looked_for() -> None:
    new = Issuer("ES256", "key-2")
    keys = Keys(ONE, later=new)
    access = access_of(keys)
    assert access.known(Presented(bearer(new.token()))) is None
    assert (await access.identify(Presented(bearer(new.token())))).identity == "jwt-user"
    assert keys.asked == 1
    for wrong in (ONE.unsigned(), ONE.symmetric(), ONE.token(headers={"typ": "x"})):
        with pytest.raises(Unauthenticated):
            await access.identify(Presented(bearer(wrong)))
    assert keys.asked == 1


async def test_a_caller_that_is_told_while_keys_change_is_not_remembered() -> None:
    class Changing(Keys):
        async def refresh(self) -> None:
            await super().refresh()
            access.forget()

    new = Issuer("ES256", "key-2")
    access = access_of(Changing(ONE, later=new))
    first = await access.identify(Presented(bearer(new.token(jti="x"))))
    assert access.known(Presented(bearer(new.token(jti="x")))) is not first


async def test_a_file_of_keys_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated):
        await access_of(Keys(ONE)).identify(Presented(bearer("rgw_abc")))


@given(
    st.dictionaries(
        st.sampled_from(["sub", "permissions", "namespace", "exp", "nbf", "iat", "aud", "iss", "jti"]),
        st.none()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=5) | st.sampled_from(["runs:read", "a"]), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    )
)
def test_any_claims_are_told_or_refused(claims: dict[str, Any]) -> None:
    payload = jwt.PyJWT()._encode_payload(ONE.claims(**claims))
    token = jwt.api_jws.encode(payload, ONE.key, "ES256", headers={"kid": "key-1"})
    try:
        caller = access_of(_KEYS).known(Presented(bearer(token)))
    except Unauthenticated:
        return
    assert caller is not None
    assert caller.identity == ONE.claims(**claims)["sub"]
    assert caller.expires is not None


_KEYS = Keys(ONE)


@given(st.text(max_size=60), st.binary(max_size=60))
def test_anything_with_two_dots_is_refused(text: str, content: bytes) -> None:
    access = access_of(_KEYS)
    head = jwt.utils.base64url_encode(content).decode()
    for token in (f"{text}..", f"{head}.{head}.{head}"):
        with pytest.raises(Unauthenticated):
            access.known(Presented(f"Bearer {token}"))
