"""Identities of tests: files of tokens, keys of an issuer, and the JWTs that it signs, or that others make up."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

ISSUER = "https://issuer.example"
AUDIENCE = "runs-gateway"

ALL_PERMISSIONS = ("runs:submit", "runs:read", "runs:cancel", "runs:delete", "blobs:read", "blobs:write")


def token_of(name: str) -> str:
    """The token of an identity of tests."""
    return f"rgw_token-of-{name}"


def bearer(token: str) -> str:
    """The value of the header `authorization`."""
    return f"Bearer {token}"


def token_entry(
    name: str,
    permissions: Sequence[str] = ALL_PERMISSIONS,
    namespaces: Sequence[str] = (),
    *,
    token: str | None = None,
    expires: str | None = None,
) -> str:
    """An entry of a file of tokens, whose token is `token_of(name)` unless one is given."""
    lines = [
        "[[tokens]]",
        f"name = {json.dumps(name)}",
        f'sha256 = "{sha256((token or token_of(name)).encode()).hexdigest()}"',
        f"permissions = {json.dumps(list(permissions))}",
        *([f"namespaces = {json.dumps(list(namespaces))}"] if namespaces else []),
        *([f"expires = {expires}"] if expires else []),
    ]
    return "\n".join([*lines, ""])


def write_tokens(file: Path, *entries: str) -> Path:
    """Write a file of tokens, and give its path."""
    file.write_text("\n".join(entries), encoding="utf-8")
    return file


class Issuer:
    """An issuer of JWTs with one key."""

    def __init__(self, algorithm: str = "ES256", kid: str | None = "key-1", issuer: str = ISSUER) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.issuer = issuer
        self.key = _private_key(algorithm)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as it stands in a set of keys."""
        made = get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        return {**made, "use": "sig", "alg": self.algorithm, **({"kid": self.kid} if self.kid else {})}

    @property
    def public_pem(self) -> bytes:
        """The public key in PEM, which forgers take for a secret of HS256."""
        return bytes(self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Claims that are right, but for those that are given; those that are None are left out."""
        now = int(time.time())
        whole = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "jwt-user",
            "iat": now,
            "exp": now + 600,
            "permissions": list(ALL_PERMISSIONS),
            **claims,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, *, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token that this issuer has signed."""
        head = {**({"kid": self.kid} if self.kid else {}), **(headers or {})}
        return jwt.encode(self.claims(**claims), self.key, algorithm=self.algorithm, headers=head)

    def wrong_tokens(self) -> dict[str, str]:
        """Tokens that a gateway with the key of this issuer must refuse, by what is wrong with them."""
        now = int(time.time())
        return {
            "malformed": "a.b",
            "wrong signature": Issuer(self.algorithm, self.kid, self.issuer).token(),
            "expired": self.token(exp=now - 3_600),
            "not yet valid": self.token(nbf=now + 3_600),
            "other issuer": self.token(iss="https://other.example"),
            "other audience": self.token(aud="another-service"),
            "alg: none": self.unsigned(),
            "symmetric with the public key": self.symmetric(),
        }

    def unsigned(self, **claims: Any) -> str:
        """A token with `alg: none` and without a signature."""
        head = {"alg": "none", "typ": "JWT", **({"kid": self.kid} if self.kid else {})}
        return forged(head, self.claims(**claims))

    def symmetric(self, **claims: Any) -> str:
        """A token that is signed with the public key, as if that were a secret."""
        head = {"alg": "HS256", "typ": "JWT", **({"kid": self.kid} if self.kid else {})}
        return forged(head, self.claims(**claims), self.public_pem)


def forged(head: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes | None = None) -> str:
    """A JWT whose head is anything, with a signature of HS256 or none; PyJWT refuses to make some of them."""
    signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
    signature = b"" if secret is None else hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{_base64(signature)}"


def key_set(*issuers: Issuer) -> str:
    """The JWKS of issuers."""
    return json.dumps({"keys": [issuer.jwk for issuer in issuers]})


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


_CURVES: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def _private_key(algorithm: str) -> Any:
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65_537, 2_048)
