"""The keys of an issuer of JWTs: a JWKS, of which those count that can verify what is accepted."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.access.algorithms import ALGORITHMS

MAX_KEY_SET: Final = 1 << 18
"""The largest JWKS, in bytes."""

MAX_SET_KEYS: Final = 100
"""How many keys one may have."""

MAX_CANDIDATES: Final = 4
"""How many keys may be tried for one token: those with its `kid`, or all if it has none."""

_RSA_BITS: Final = range(2_048, 8_193)
_LIGHT_RSA_BITS: Final = 4_096
_MAX_EXPONENT: Final = 1 << 32
_HEAVY: Final = frozenset({"ES384", "ES512"})

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""The members of keys that no JWKS for others has."""


class VerifyingKey(NamedTuple):
    """A key for one algorithm. `heavy` says that a signature takes it more than half a millisecond."""

    kid: str | None
    key: jwt.PyJWK
    heavy: bool


class KeySet:
    """The keys by which tokens are verified."""

    def __init__(self, keys: Iterable[VerifyingKey] = ()) -> None:
        self._keys: dict[tuple[str, str | None], list[VerifyingKey]] = {}
        self._any: dict[str, list[VerifyingKey]] = {}
        for key in keys:
            self._any.setdefault(key.key.algorithm_name, []).append(key)
            self._keys.setdefault((key.key.algorithm_name, key.kid), []).append(key)

    def find(self, algorithm: str, kid: str | None) -> list[VerifyingKey]:
        """The keys that may have signed a token with this head; none if there are too many."""
        found = self._any.get(algorithm, []) if kid is None else self._keys.get((algorithm, kid), [])
        return found if len(found) <= MAX_CANDIDATES else []

    def decoy(self, algorithm: str) -> VerifyingKey | None:
        """Some key for an algorithm: with it, a token that no key fits costs as much as others."""
        return next(iter(self._any.get(algorithm, [])), None)


def read_key_set(content: bytes, algorithms: Iterable[str]) -> KeySet:
    """Read a JWKS. Keys of kinds that are not accepted, as those for encryption, are left out.

    Raises ValueError if it is not one, has no key that counts, or has private keys.
    """
    try:
        document = msgspec.json.decode(content)
        entries = document["keys"]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('expected a JWKS: {"keys": [...]}')
    if len(entries) > MAX_SET_KEYS:
        raise ValueError(f"expected {MAX_SET_KEYS} keys at most")
    if any(_PRIVATE & entry.keys() for entry in entries):
        raise ValueError("a key is private: a JWKS has public ones alone")
    accepted = tuple(algorithms)
    keys = [key for entry in entries for key in _keys_of(entry, accepted)]
    if not keys:
        raise ValueError(f"has no key for {', '.join(accepted)}")
    return KeySet(keys)


def _keys_of(entry: dict[str, Any], algorithms: Iterable[str]) -> Iterable[VerifyingKey]:
    """A key for each algorithm that it may verify."""
    kid, uses = entry.get("kid"), entry.get("key_ops", ["verify"])
    verifies = entry.get("use", "sig") == "sig" and isinstance(uses, list) and "verify" in uses
    if not verifies or not isinstance(kid, str | None):
        return
    kind = "RSA" if entry.get("kty") == "RSA" else entry.get("crv")
    for algorithm in algorithms:
        if ALGORITHMS[algorithm] == kind and entry.get("alg", algorithm) == algorithm:
            try:
                key = jwt.PyJWK(entry, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError):
                return
            heavy = algorithm in _HEAVY
            if isinstance(key.key, RSAPublicKey):
                heavy = key.key.key_size > _LIGHT_RSA_BITS
                # A long exponent would make each signature cost as much as making one.
                if key.key.key_size not in _RSA_BITS or key.key.public_numbers().e > _MAX_EXPONENT:
                    return
            yield VerifyingKey(kid, key, heavy)
