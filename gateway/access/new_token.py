"""Tokens for a file of tokens: made here, and kept nowhere but where their users put them."""

import json
import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.access.granted import Roles
from gateway.access.tokens_file import read_tokens
from gateway.core.owner import Permission

PREFIX: Final = "rgw_"
"""How tokens begin, so that programs that look for secrets in the wrong places find them."""

RANDOM_BYTES: Final = 32


class NewToken(NamedTuple):
    """A token, its SHA-256, and the entry for a file of tokens, which does not hold the token."""

    token: str
    digest: str
    entry: str

    def __repr__(self) -> str:
        """The text without the token, for logs and traces."""
        return f"NewToken(digest={self.digest!r})"


def new_token(
    permissions: Sequence[str], namespaces: Sequence[str] = (), *, name: str | None = None, expires: str | None = None
) -> NewToken:
    """Make a token. Names that are no permissions are of roles; without a name, the identity is named by the digest.

    Raises ValueError if a file with this entry would be refused.
    """
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    digest = sha256(token.encode()).hexdigest()
    fields = {
        "name": f"token-{digest[:8]}" if name is None else name,
        "sha256": digest,
        "permissions": list(permissions),
        **({"namespace": namespaces[0]} if len(namespaces) == 1 else {}),
        **({"namespaces": list(namespaces)} if len(namespaces) > 1 else {}),
    }
    # Texts of JSON that can be printed are texts of TOML as well.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    if expires is not None:
        lines.append(f"expires = {expires}")
    entry = "\n".join(["[[tokens]]", *lines, ""])
    roles = Roles({each: (Permission.READ,) for each in permissions if ":" not in each and each != Permission.ADMIN})
    read_tokens(entry.encode(), roles)
    return NewToken(token, digest, entry)
