"""The settings of identities: who may call, told by tokens, by an issuer of JWTs, and by client certificates."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from gateway.access.algorithms import ALGORITHMS
from gateway.access.certificates import MAX_RULES, CertificateRule
from gateway.core.owner import Permission
from gateway.server.setting_forms import (
    DefaultText,
    FileOnly,
    FilePath,
    FlagValue,
    ListFlag,
    NonEmpty,
    expand_home,
    split_list,
)


def _check_algorithms(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = next((name for name in names if name not in ALGORITHMS), None)
    if unknown is not None or not names:
        raise ValueError(f"expected some of {', '.join(ALGORITHMS)}, got {unknown or ''!r}")
    return names


def _check_keys(place: str) -> str:
    if "://" not in place:
        return expand_home(place)
    try:
        parts = urlsplit(place)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        valid = parts.hostname and parts.port != 0 and (parts.scheme == "https" or (parts.scheme == "http" and local))
    except ValueError:
        valid = False
    if not valid or "@" in parts.netloc or parts.fragment:
        raise ValueError("expected a file, or https://HOST/PATH; http is for loopback addresses alone")
    return place


def _check_role(name: str) -> str:
    if name in set(Permission) or not name or len(name) > 100 or not name.isprintable() or " " in name:
        raise ValueError("expected a name without spaces that is not that of a permission")
    return name


SecretFile = Annotated[FilePath, FlagValue("FILE")]
RoleName = Annotated[str, AfterValidator(_check_role)]
RolePermissions = Annotated[tuple[Permission, ...], Field(min_length=1, max_length=100)]
ClaimName = Annotated[NonEmpty, FlagValue("CLAIM")]


class IdentitySettings(BaseModel):
    """Settings of identities. If none of them is there, everybody may do everything."""

    tokens: SecretFile | None = Field(
        default=None,
        description="A file of tokens in TOML, as `runs-gateway token create` prints its entries: with the SHA-256 of "
        "each, and what it permits. It is read anew when it changes.",
    )
    signing_key: SecretFile | None = Field(
        default=None,
        description="A file with the key for tokens that the gateway makes itself, of at least 32 bytes. With several, "
        "one in a line, the first signs and all verify. Gateways with the same key accept each other's tokens.",
    )
    jwt_issuer: NonEmpty | None = Field(
        default=None,
        description="The issuer of JWTs that are accepted: their `iss`.",
    )
    jwt_audience: NonEmpty | None = Field(
        default=None,
        description="What the JWTs have to be for: one of their `aud`.",
    )
    jwt_keys: Annotated[NonEmpty, FlagValue("FILE|URL"), AfterValidator(_check_keys)] | None = Field(
        default=None,
        description="The keys of the issuer, a JWKS: a file, or an https URL that is asked again and again.",
    )
    jwt_algorithms: Annotated[
        tuple[str, ...],
        ListFlag("jwt-algorithm", "NAME"),
        BeforeValidator(split_list),
        AfterValidator(_check_algorithms),
        DefaultText("`RS256`, `ES256` and `EdDSA`"),
    ] = Field(
        default=("RS256", "ES256", "EdDSA"),
        description="An algorithm by which the JWTs may be signed: one of RS256, RS384, RS512, PS256, PS384, PS512, "
        "ES256, ES384, ES512 and EdDSA.",
    )
    jwt_identity_claim: ClaimName = Field(
        default="sub",
        description="The claim that names the identity. A claim within another is a JSON Pointer: `/a/b`.",
    )
    jwt_permissions_claim: ClaimName = Field(
        default="permissions",
        description="The claim with the names of permissions and roles: a list, or a text with spaces, as `scope` is.",
    )
    jwt_namespace_claim: ClaimName = Field(
        default="namespace",
        description="The claim with the namespace, or with a list of them. Without it, it is `default`.",
    )
    certificates: Annotated[tuple[CertificateRule, ...], FileOnly()] = Field(
        default=(),
        max_length=MAX_RULES,
        description="Rules for client certificates, of which the first that matches counts: tables with `identity` (a "
        "SPIFFE id, a DNS name or a common name, where `*` stands for anything), `permissions`, and `namespace` or "
        "`namespaces`.",
    )
    roles: Annotated[dict[RoleName, RolePermissions], FileOnly()] = Field(
        default={},
        description='Names for lists of permissions: `reader = ["runs:read", "blobs:read"]`.',
    )

    @property
    def has_identities(self) -> bool:
        """Whether callers have to say who they are. A signing key alone makes identities, too."""
        return bool(self.tokens or self.signing_key or self.jwt_keys or self.certificates)
