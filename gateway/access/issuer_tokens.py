"""The JWTs of an issuer: verified with its keys, and what their claims say of the caller."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import jwt

from gateway.access.granted import MAX_NAMESPACES, Roles, caller_of, is_identity
from gateway.access.jwt_head import JwtHead
from gateway.access.key_set import KeySet, VerifyingKey
from gateway.access.refusals import unauthenticated
from gateway.core.caller import Caller
from gateway.core.owner import DEFAULT_NAMESPACE, is_namespace

LEEWAY: Final = 60.0
"""How much the clocks of an issuer and of the gateway may differ, in seconds."""

LONG_TOKEN: Final = 3_072
"""From this length on, in characters, a token is read off the event loop."""

_MAX_PERMISSIONS: Final = 1_000
_TYPES: Final = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})
"""The types of tokens that are for access, in lower case. Others are for another purpose."""


class KeySource(ABC):
    """Where the keys of an issuer come from."""

    @property
    @abstractmethod
    def keys(self) -> KeySet:
        """The keys of the moment."""

    @abstractmethod
    async def refresh(self) -> None:
        """Look for keys that are newer, since a token names one that is not known. It never fails."""


class ExpectedClaims(NamedTuple):
    """What tokens have to say, and the claims that tell the caller.

    The name of a claim that begins with a slash is a JSON Pointer: `/realm_access/roles`.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    identity: str = "sub"
    permissions: str = "permissions"
    namespace: str = "namespace"


class IssuerTokens:
    """Tells the callers of JWTs."""

    def __init__(self, expected: ExpectedClaims, source: KeySource, roles: Roles) -> None:
        self._expected = expected
        self._source = source
        self._roles = roles

    def at_once(self, head: JwtHead, token: str) -> bool:
        """Whether `caller` takes less than half a millisecond, and waits for nothing."""
        keys = self._source.keys.find(head.alg, head.kid)
        return self._refused(head) or (len(token) < LONG_TOKEN and len(keys) == 1 and not keys[0].heavy)

    def caller(self, head: JwtHead, token: str) -> Caller:
        """The caller that a token tells, by the keys that are known. Raises Unauthenticated if it is not accepted."""
        if self._refused(head):
            raise unauthenticated("not_verified")
        keys = self._source.keys
        found = keys.find(head.alg, head.kid)
        decoy = None if found else keys.decoy(head.alg)
        for key in [decoy] if decoy else found:
            claims = self._verified(token, key)
            if claims is not None and decoy is None:
                return self._caller_of(claims)
        raise unauthenticated("not_verified")

    async def identify(self, head: JwtHead, token: str) -> Caller:
        """The caller that a token tells, after looking for the key that it names. Raises as `caller` does."""
        if not self._refused(head) and not self._source.keys.find(head.alg, head.kid):
            await self._source.refresh()
        if self.at_once(head, token):
            return self.caller(head, token)
        return await asyncio.to_thread(self.caller, head, token)

    def _refused(self, head: JwtHead) -> bool:
        typ = head.typ if head.typ is None else head.typ.lower()
        return head.alg not in self._expected.algorithms or typ not in _TYPES

    def _verified(self, token: str, key: VerifyingKey) -> dict[str, Any] | None:
        expected = self._expected
        try:
            return dict(
                jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.key.algorithm_name],
                    issuer=expected.issuer,
                    audience=expected.audience,
                    leeway=LEEWAY,
                    options={"require": ["exp", "iss", "aud"]},
                )
            )
        except jwt.ExpiredSignatureError:
            raise unauthenticated("expired") from None
        except Exception:
            # PyJWT raises others than its own for some claims. Nothing in a token is a defect of the gateway.
            return None

    def _caller_of(self, claims: dict[str, Any]) -> Caller:
        expected = self._expected
        identity = _claim(claims, expected.identity)
        namespaces = _namespaces(_claim(claims, expected.namespace))
        expires = _moment(claims["exp"])
        if not isinstance(identity, str) or not is_identity(identity) or namespaces is None or expires is None:
            raise unauthenticated("claims")
        # Names that are of no permission and no role are for others: the scopes of other services are beside ours.
        permissions = self._roles.known(_names(_claim(claims, expected.permissions)))
        return caller_of(identity, permissions, namespaces, expires + LEEWAY)


def _claim(claims: Any, name: str) -> Any:
    """A claim by its name, or by a JSON Pointer; None if it is not there."""
    if not name.startswith("/"):
        return claims.get(name)
    for part in name[1:].split("/"):
        if not isinstance(claims, dict):
            return None
        claims = claims.get(part.replace("~1", "/").replace("~0", "~"))
    return claims


def _names(claim: Any) -> Sequence[str]:
    """The names in a claim: a list of texts, or one text with spaces between them. Anything else has none."""
    names = claim.split() if isinstance(claim, str) else claim
    whole = isinstance(names, list) and len(names) <= _MAX_PERMISSIONS and all(isinstance(name, str) for name in names)
    return names if whole else ()


def _namespaces(claim: Any) -> Sequence[str] | None:
    """The namespaces in a claim: a text or a list of them. None if it has others, or too many."""
    if claim is None:
        return (DEFAULT_NAMESPACE,)
    names = [claim] if isinstance(claim, str) else claim
    whole = (
        isinstance(names, list)
        and 1 <= len(names) <= MAX_NAMESPACES
        and all(isinstance(name, str) and is_namespace(name) for name in names)
    )
    return names if whole else None


def _moment(claim: Any) -> float | None:
    """A time, in seconds since the epoch; None if it is not a finite number."""
    number = isinstance(claim, int | float) and not isinstance(claim, bool) and 0 <= claim < 1e12
    return float(claim) if number else None
