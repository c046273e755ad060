"""The access of a gateway with identities: tokens of a file, of an issuer and of gateways, and client certificates."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import replace

from gateway.access.access import Access
from gateway.access.bearer import bearer_token
from gateway.access.certificates import CertificateCallers
from gateway.access.issuer_tokens import IssuerTokens
from gateway.access.jwt_head import head_of, is_jwt
from gateway.access.presented import PeerCertificate, Presented
from gateway.access.refusals import foreign_namespace, unauthenticated
from gateway.access.scoped_tokens import TOKEN_TYPE, ScopedTokens
from gateway.access.tokens_file import KnownTokens
from gateway.access.watched_file import WatchedFile
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.caller import Caller, CallerView
from gateway.core.owner import Permission, is_namespace
from gateway.core.tokens import CreatedToken, TokenParams

LOOK_SECONDS: Final = 1.0
"""How often files are looked at, in seconds."""

MAX_CALLERS: Final = 10_000
"""How many callers are remembered: those of them that were told last."""

MAX_CALLER_BYTES: Final = 16 << 20
"""How much they may take together, in bytes, by the length of their credentials, which hold namespaces and labels."""

_CALLER_BYTES: Final = 600
"""What a caller takes in any case."""

_CallerKey = tuple[bytes | PeerCertificate, str | None]


class ConfiguredAccess(Access):
    """Tells callers by what is configured: at least one kind of credentials.

    Where a call has both a token and a certificate, the token counts, and if it is not accepted, the call is refused.
    """

    def __init__(
        self,
        *,
        tokens: WatchedFile[KnownTokens] | None = None,
        issuer: IssuerTokens | None = None,
        certificates: CertificateCallers | None = None,
        scoped: ScopedTokens | None = None,
    ) -> None:
        self._tokens = tokens
        self._issuer = issuer
        self._certificates = certificates
        self._scoped = scoped
        self._callers: BoundedCache[_CallerKey, Caller] = BoundedCache(MAX_CALLERS, MAX_CALLER_BYTES)
        self._changes = 0
        self._follower: asyncio.Task[None] | None = None

    def follow(self, files: Sequence[WatchedFile[Any]]) -> None:
        """Look at files from now on, and read those anew that change."""
        self._follower = asyncio.create_task(self._follow(files))

    def forget(self) -> None:
        """Remember no caller: what told them has changed."""
        self._changes += 1
        self._callers.clear()

    def known(self, presented: Presented) -> Caller | None:
        authorization, namespace, certificate = presented[:3]
        if authorization is None:
            return self._certified(certificate, namespace)
        token = bearer_token(authorization)
        # The token itself is kept nowhere.
        digest = sha256(token.encode()).digest()
        caller = self._callers.get((digest, namespace))
        if caller is not None:
            return _valid(caller)
        caller = self._told_by(token, digest)
        return caller if caller is None else self._remember((digest, namespace), caller, len(token))

    async def identify(self, presented: Presented) -> Caller:
        caller = self.known(presented)
        if caller is not None:
            return caller
        if self._issuer is None or presented.authorization is None:
            raise unauthenticated("missing" if presented.authorization is None else "unknown")
        token = bearer_token(presented.authorization)
        changes = self._changes
        caller = await self._issuer.identify(head_of(token), token)
        # What has told it may count no more by now.
        if changes != self._changes:
            return in_namespace(_valid(caller), presented.namespace)
        return self._remember((sha256(token.encode()).digest(), presented.namespace), caller, len(token))

    def create_token(self, caller: Caller, params: TokenParams) -> CreatedToken:
        if self._scoped is None:
            return super().create_token(caller, params)
        return self._scoped.create(caller, params)

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower

    async def _follow(self, files: Sequence[WatchedFile[Any]]) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for file in files:
                if await file.look():
                    self.forget()

    def _certified(self, certificate: PeerCertificate | None, namespace: str | None) -> Caller:
        if certificate is None or self._certificates is None:
            raise unauthenticated("missing" if certificate is None else "certificate")
        caller = self._callers.get((certificate, namespace))
        if caller is None:
            told = self._certificates.caller(certificate)
            caller = self._remember((certificate, namespace), told, _length_of(certificate))
        return caller

    def _told_by(self, token: str, digest: bytes) -> Caller | None:
        """The caller that a token tells; None if that takes long, or has to wait for something."""
        caller = None if self._tokens is None else self._tokens.value.find(digest)
        if caller is not None:
            return caller
        if not is_jwt(token):
            raise unauthenticated("unknown")
        head = head_of(token)
        if head.typ == TOKEN_TYPE and self._scoped is not None:
            return self._scoped.caller(token)
        if self._issuer is None:
            raise unauthenticated("unknown")
        return self._issuer.caller(head, token) if self._issuer.at_once(head, token) else None

    def _remember(self, key: _CallerKey, caller: Caller, length: int) -> Caller:
        # A caller whose credentials have expired is told nothing about namespaces.
        caller = in_namespace(_valid(caller), key[1])
        self._callers.put(key, caller, _CALLER_BYTES + length)
        return caller


def _valid(caller: Caller) -> Caller:
    """The caller. Raises Unauthenticated if its credentials have expired."""
    if caller.expires is not None and caller.expires <= time.time():
        raise unauthenticated("expired")
    return caller


def _length_of(certificate: PeerCertificate) -> int:
    names = certificate.uris + certificate.dns_names
    return len(certificate.common_name or "") + sum(map(len, names)) + 80 * len(names)


def in_namespace(caller: Caller, namespace: str | None) -> Caller:
    """The caller, as it sees the namespace that it has named. Raises PermissionDenied if that is none of its own."""
    if namespace is None:
        return caller
    own = namespace in caller.namespaces or (Permission.ADMIN in caller.permissions and is_namespace(namespace))
    if not own:
        raise foreign_namespace()
    return replace(caller, view=CallerView(namespace, caller.view.run_id, caller.view.labels))
