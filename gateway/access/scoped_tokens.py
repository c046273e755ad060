"""Tokens that the gateway makes: valid for a short time, for less than their makers may do, where the key is.

They are JWTs of a type of their own, signed with HMAC. What they permit stands in them: nothing is kept of them, and
one cannot be taken back before it ends, unless the key is.
"""

import time
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

import jwt
import msgspec
from msgspec import Struct

from gateway.access.bearer import MAX_TOKEN
from gateway.access.refusals import foreign_namespace, unauthenticated
from gateway.access.watched_file import WatchedFile
from gateway.core.caller import Caller, CallerView
from gateway.core.errors import InvalidParams, InvalidRunId, PermissionDenied, Violation
from gateway.core.model import MAX_LABELS, canonical_run_id
from gateway.core.owner import DEFAULT_NAMESPACE, Permission, is_namespace
from gateway.core.tokens import DEFAULT_LIFETIME, MAX_LIFETIME, CreatedToken, TokenParams

TOKEN_TYPE: Final = "runs-gateway+jwt"
"""The type in the head of a token: nothing else that may be signed with the key is taken for one."""

MIN_KEY: Final = 32
"""The shortest key, in bytes: as long as the digest."""

MAX_KEYS: Final = 16
MAX_KEYS_FILE: Final = 1 << 16
"""How many keys verify, and how large their file may be, in bytes."""

_ALGORITHM: Final = "HS256"


class _ScopedClaims(Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says. `exp` is in seconds since the epoch."""

    sub: str
    ns: str
    permissions: tuple[Permission, ...]
    exp: float
    run: str | None = None
    labels: dict[str, str] = {}


class SigningKeys:
    """Keys, of which the first signs and all verify, so that one can take the place of another. No text shows them."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token with these claims."""
        return jwt.encode(dict(claims), self._keys[0], algorithm=_ALGORITHM, headers={"typ": TOKEN_TYPE})

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of the keys has signed. Raises jwt.InvalidTokenError if none has."""
        for key in self._keys[:-1]:
            try:
                return _decoded(token, key)
            except jwt.InvalidSignatureError:
                continue
        return _decoded(token, self._keys[-1])


def read_signing_keys(content: bytes) -> SigningKeys:
    """The keys in a file: its lines. Raises ValueError if one of them is too short."""
    keys = [key for line in content.splitlines() if (key := line.strip())]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"expected 1 to {MAX_KEYS} keys, each in a line of its own")
    if min(map(len, keys)) < MIN_KEY:
        raise ValueError(f"expected keys of at least {MIN_KEY} bytes, as `openssl rand -base64 48` makes them")
    signing = [SigningKeys([key]) for key in keys]
    try:
        for one in signing:
            one.sign({})
    except jwt.InvalidKeyError:
        raise ValueError("a key is the text of a certificate or of a key pair, not random bytes") from None
    return SigningKeys(keys)


def _decoded(token: str, key: bytes) -> dict[str, Any]:
    # Access looks at the exact time, for callers that it remembers as well.
    decoded = jwt.decode(token, key, algorithms=[_ALGORITHM], leeway=1, options={"require": ["exp", "sub"]})
    return dict(decoded)


class ScopedTokens:
    """Makes tokens, and tells the callers that present them. Those count that their file has at the moment."""

    def __init__(self, keys: WatchedFile[SigningKeys]) -> None:
        self._keys = keys

    def create(self, caller: Caller, params: TokenParams) -> CreatedToken:
        """A token for what is asked, and never for more than the caller has. Where less is asked, what it has counts.

        Raises PermissionDenied if the caller does not hold what the token grants, and InvalidParams if that has no
        meaning.
        """
        _check(params)
        for permission in params.permissions:
            caller.require(permission)
        view = _granted_view(caller, params)
        lifetime = DEFAULT_LIFETIME if params.lifetime is None else min(params.lifetime, MAX_LIFETIME)
        # Of a caller whose own token ends earlier, it ends with that.
        expires = min(time.time() + lifetime, inf if caller.expires is None else caller.expires)
        claims = _ScopedClaims(
            sub=caller.identity,
            ns=view.namespace or DEFAULT_NAMESPACE,
            permissions=params.permissions,
            exp=expires,
            run=view.run_id,
            labels=dict(view.labels),
        )
        token = self._keys.value.sign(msgspec.to_builtins(claims))
        if len(token) > MAX_TOKEN:
            raise InvalidParams.field("labels", description="too long for a token")
        return CreatedToken(token, int(expires * 1e9))

    def caller(self, token: str) -> Caller:
        """The caller that a token is for. Raises Unauthenticated if it is not a token of one of the keys."""
        try:
            claims = msgspec.convert(self._keys.value.claims(token), _ScopedClaims)
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            raise unauthenticated("not_verified") from None
        # Nothing here makes such a token; with a stolen key, one gets no further than one namespace.
        if Permission.ADMIN in claims.permissions or not is_namespace(claims.ns):
            raise unauthenticated("claims")
        view = CallerView(claims.ns, claims.run, tuple(claims.labels.items()))
        return Caller(claims.sub, view, frozenset(claims.permissions), (claims.ns,), claims.exp)


def _check(params: TokenParams) -> None:
    """Raise InvalidParams if a token with these parameters would have no meaning."""
    permissions = params.permissions
    violations = [
        Violation(("permissions", index), "is there twice" if permission in permissions[:index] else "is not granted")
        for index, permission in enumerate(permissions)
        if permission is Permission.ADMIN or permission in permissions[:index]
    ]
    if params.run_id is not None and Permission.SUBMIT in permissions:
        place = permissions.index(Permission.SUBMIT)
        violations.append(Violation(("permissions", place), "a token for one run submits no others"))
    if violations:
        raise InvalidParams(violations)
    if params.run_id is not None and canonical_run_id(params.run_id) is None:
        raise InvalidRunId.field("run_id", description="expected a UUID")


def _granted_view(caller: Caller, params: TokenParams) -> CallerView:
    """What exists for the token. Raises PermissionDenied if that is not within what exists for the caller."""
    own = caller.view
    namespace = params.namespace or own.namespace or DEFAULT_NAMESPACE
    if namespace not in caller.namespaces and not (Permission.ADMIN in caller.permissions and is_namespace(namespace)):
        raise foreign_namespace()
    run_id = own.run_id if params.run_id is None else canonical_run_id(params.run_id)
    if own.run_id is not None and run_id != own.run_id:
        raise PermissionDenied("the caller is for another run alone")
    labels = {**params.labels, **dict(own.labels)}
    if any(labels[name] != value for name, value in params.labels.items()):
        raise PermissionDenied("the caller is for runs with other labels alone")
    if len(labels) > MAX_LABELS:
        raise InvalidParams.field("labels", description=f"expected at most {MAX_LABELS} with those of the caller")
    return CallerView(namespace, run_id, tuple(sorted(labels.items())))
