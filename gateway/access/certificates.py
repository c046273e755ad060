"""Identities by client certificates, which TLS has verified: rules for the names in them."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

from pydantic import StringConstraints

from gateway.access.granted import Grant, Roles, is_identity
from gateway.access.presented import PeerCertificate
from gateway.access.refusals import unauthenticated
from gateway.core.caller import Caller

SPIFFE: Final = "spiffe://"

MAX_RULES: Final = 1_000

MAX_SPIFFE: Final = 2_048
"""The longest SPIFFE id, in bytes."""

_HOST_NAME = re.compile(r"[a-z0-9_*.-]{1,253}")
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]+)*")


class CertificateRule(Grant):
    """What certificates permit whose identity matches a pattern.

    A `*` at the end of a pattern stands for anything. Elsewhere, it stands for anything within a part of a path, or of
    a DNS name.
    """

    identity: Annotated[str, StringConstraints(min_length=1, max_length=2_048)]


class CertificateCallers:
    """Tells callers by their certificates: the first rule counts that matches."""

    def __init__(self, rules: Iterable[CertificateRule], roles: Roles) -> None:
        """Take rules. Raises ValueError, which names the rule, if one grants what cannot be granted."""
        self._rules: list[tuple[re.Pattern[str], CertificateRule]] = []
        self._roles = roles
        for number, rule in enumerate(rules, 1):
            try:
                rule.caller(rule.identity, roles)
            except ValueError as error:
                raise ValueError(f"rule {number} ({rule.identity[:100]!r}): {error}") from None
            self._rules.append((_pattern(rule.identity), rule))

    def caller(self, certificate: PeerCertificate) -> Caller:
        """The caller with a certificate. Raises Unauthenticated if there is no rule for it."""
        names = identities_of(certificate)
        for pattern, rule in self._rules:
            for name in names:
                if pattern.fullmatch(name):
                    return rule.caller(name, self._roles)
        raise unauthenticated("certificate")


def identities_of(certificate: PeerCertificate) -> Sequence[str]:
    """The names of a certificate that count: its SPIFFE id, else its DNS names, else its common name.

    A certificate with several SPIFFE ids is not valid, and has no names. Neither has one with an id or a DNS name that
    is not well-formed: a name must not be taken for one of another kind, nor a path for one that it only leads to.
    """
    spiffe = [uri for uri in certificate.uris if uri.lower().startswith(SPIFFE)]
    if spiffe:
        names: Sequence[str] = spiffe if len(spiffe) == 1 and _is_spiffe_id(spiffe[0]) else ()
    elif certificate.dns_names:
        names = [name.lower() for name in certificate.dns_names]
        if not all(map(_HOST_NAME.fullmatch, names)):
            return []
    else:
        common = certificate.common_name
        # It is text of any kind: one that looks like the id of a workload is none.
        names = [] if common is None or "://" in common else [common.lower()]
    return [name for name in names if is_identity(name)]


def _is_spiffe_id(uri: str) -> bool:
    """Whether a URI is a SPIFFE id as its standard has it: no empty or relative part of the path, and no escapes."""
    return len(uri) <= MAX_SPIFFE and _SPIFFE_ID.fullmatch(uri) is not None


def _pattern(identity: str) -> re.Pattern[str]:
    if identity == "*":
        return re.compile(".*", re.DOTALL)
    spiffe = identity.startswith(SPIFFE)
    inner, text = ("[^/]*", identity) if spiffe else ("[^.]*", identity.lower())
    parts = text.removesuffix("*").split("*")
    return re.compile(inner.join(map(re.escape, parts)) + (".*" if text.endswith("*") else ""), re.DOTALL)
