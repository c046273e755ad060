"""The access of a server, as its settings say."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from gateway.access.access import Access, OpenAccess
from gateway.access.certificates import CertificateCallers
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.issuer_tokens import ExpectedClaims, IssuerTokens
from gateway.access.key_set import MAX_KEY_SET, read_key_set
from gateway.access.key_sources import FetchedKeys, FileKeys
from gateway.access.scoped_tokens import MAX_KEYS_FILE, ScopedTokens, read_signing_keys
from gateway.access.tokens_file import MAX_TOKENS_FILE, read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.server.identity_settings import IdentitySettings
from gateway.server.settings import SettingsError, StartError

V = TypeVar("V")


async def open_access(settings: IdentitySettings, stack: AsyncExitStack) -> Access:
    """Open the access that the settings name; `stack` closes it. Each process reads the files itself.

    A signing key alone is an identity, too: callers then need a token that is signed with it.
    Raises SettingsError if rules cannot be used, and StartError if a file cannot.
    """
    if not settings.has_identities:
        return OpenAccess()
    roles = Roles(settings.roles)
    files: list[WatchedFile[Any]] = []
    tokens = scoped = source = issuer = None
    if settings.tokens is not None:
        tokens = await _watched(files, settings.tokens, partial(read_tokens, roles=roles), "--tokens", MAX_TOKENS_FILE)
    if settings.signing_key is not None:
        keys = await _watched(files, settings.signing_key, read_signing_keys, "--signing-key", MAX_KEYS_FILE)
        scoped = ScopedTokens(keys)
    if settings.jwt_keys is not None:
        source = await _keys(settings.jwt_keys, settings.jwt_algorithms, files)
        issuer = IssuerTokens(_expected(settings), source, roles)
    access = ConfiguredAccess(tokens=tokens, issuer=issuer, certificates=_certificates(settings, roles), scoped=scoped)
    stack.push_async_callback(access.close)
    if isinstance(source, FetchedKeys):
        stack.push_async_callback(source.close)
        await source.start(access.forget)
    access.follow(files)
    return access


async def _watched(
    files: list[WatchedFile[Any]], path: str, read: Callable[[bytes], V], flag: str, max_bytes: int
) -> WatchedFile[V]:
    """Read a file, and put it among those that are followed."""
    try:
        file = await asyncio.to_thread(WatchedFile, path, read, max_bytes)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror} ({flag})") from None
    except ValueError as error:
        raise StartError(f"{path}: {error} ({flag})") from None
    files.append(file)
    return file


async def _keys(place: str, algorithms: Sequence[str], files: list[WatchedFile[Any]]) -> FetchedKeys | FileKeys:
    read = partial(read_key_set, algorithms=algorithms)
    if "://" in place:
        return FetchedKeys(place, read)
    return FileKeys(await _watched(files, place, read, "--jwt-keys", MAX_KEY_SET))


def _expected(settings: IdentitySettings) -> ExpectedClaims:
    # The three are given together: the settings are checked for it.
    assert settings.jwt_issuer is not None
    assert settings.jwt_audience is not None
    return ExpectedClaims(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_algorithms,
        settings.jwt_identity_claim,
        settings.jwt_permissions_claim,
        settings.jwt_namespace_claim,
    )


def _certificates(settings: IdentitySettings, roles: Roles) -> CertificateCallers | None:
    if not settings.certificates:
        return None
    try:
        return CertificateCallers(settings.certificates, roles)
    except ValueError as error:
        raise SettingsError(f"certificates: {error}") from None
