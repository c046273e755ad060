"""The file of tokens: what is known of each is its SHA-256, and what it permits."""

import hmac
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ValidationError

from gateway.access.granted import Grant, IdentityName, Roles
from gateway.core.caller import Caller
from gateway.core.rules import fault_text

MAX_TOKENS_FILE: Final = 1 << 20
"""The largest file, in bytes: some 5,000 tokens."""

_DIGEST: Final = re.compile("[0-9a-fA-F]{64}")


def _check_digest(text: object) -> object:
    # The error repeats nothing: somebody may have written the token itself.
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError("expected the 64 hex digits of a SHA-256")
    return text.lower()


def _check_moment(moment: object) -> object:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError("expected a date, a time and an offset, as 2027-01-31T00:00:00Z")
    return moment


class TokenEntry(Grant):
    """An entry of `[[tokens]]`. Several may have the same name: they are tokens of one identity."""

    name: IdentityName
    sha256: Annotated[str, BeforeValidator(_check_digest)]
    expires: Annotated[datetime | None, BeforeValidator(_check_moment)] = None


class KnownTokens:
    """The callers of tokens, by the SHA-256 of these."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        # Where an entry is in memory depends on a digest, which nobody can choose, and on a secret of the interpreter.
        self._entries = {digest: (digest, caller) for digest, caller in callers.items()}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: bytes) -> Caller | None:
        """The caller whose token has this digest; the token may have expired."""
        known, caller = self._entries.get(digest, (bytes(32), None))
        return caller if hmac.compare_digest(known, digest) else None


def read_tokens(content: bytes, roles: Roles) -> KnownTokens:
    """Read a file of tokens. Raises ValueError, which names the entry, if it is not valid."""
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ValueError("expected text in UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return known_tokens(document, roles)


def known_tokens(document: Mapping[str, Any], roles: Roles) -> KnownTokens:
    """The tokens in a file that is parsed. Raises ValueError, which names the entry, if it is not valid."""
    unknown = next((name for name in document if name != "tokens"), None)
    if unknown is not None:
        raise ValueError(f"{unknown[:100]!r} is unknown: expected [[tokens]] alone")
    entries = document.get("tokens", [])
    if not isinstance(entries, list):
        raise ValueError("expected [[tokens]], with two brackets")
    callers: dict[bytes, Caller] = {}
    for number, values in enumerate(entries, 1):
        try:
            digest, caller = _read_entry(values, roles)
            if digest in callers:
                raise ValueError(f"another entry has the same sha256, that of {callers[digest].identity!r}")
        except ValueError as error:
            raise ValueError(f"{_place(number, values)}: {error}") from None
        callers[digest] = caller
    return KnownTokens(callers)


def _read_entry(values: Any, roles: Roles) -> tuple[bytes, Caller]:
    try:
        entry = TokenEntry.model_validate(values)
    except ValidationError as error:
        # Without the values: one may be a secret that is in the wrong place.
        faults = error.errors(include_url=False, include_input=False)
        raise ValueError("; ".join(map(_fault, faults))) from None
    expires = None if entry.expires is None else entry.expires.timestamp()
    return bytes.fromhex(entry.sha256), entry.caller(entry.name, roles, expires)


def _place(number: int, values: Any) -> str:
    name = values.get("name") if isinstance(values, dict) else None
    return f"token {number} ({name[:100]!r})" if isinstance(name, str) else f"token {number}"


def _fault(fault: Any) -> str:
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault_text(fault)}" if where else fault_text(fault)
