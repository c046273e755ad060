"""What settings and files grant to an identity: its name, permissions and namespaces, checked as they are written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.core.caller import ALL, Caller, CallerView
from gateway.core.owner import DEFAULT_NAMESPACE, Permission, is_namespace

MAX_NAMESPACES: Final = 100
"""How many namespaces one identity may have."""

MAX_IDENTITY: Final = 256
"""The longest name of an identity, in characters."""

_NAMES: Final = {permission.value: frozenset({permission}) for permission in Permission}


def is_identity(text: str) -> bool:
    """Whether a text may name an identity: one line that can be printed, without blanks at its ends."""
    return 0 < len(text) <= MAX_IDENTITY and text.isprintable() and text == text.strip()


def _check_identity(text: str) -> str:
    if not is_identity(text):
        raise ValueError(f"expected one line of at most {MAX_IDENTITY} characters that can be printed")
    return text


def _check_namespace(text: str) -> str:
    if not is_namespace(text):
        raise ValueError("expected 1 to 63 of a-z, 0-9 and . _ -, which are not at its ends")
    return text


IdentityName = Annotated[str, AfterValidator(_check_identity)]
NamespaceName = Annotated[str, AfterValidator(_check_namespace)]
PermissionNames = Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]


class Roles:
    """The names of sets of permissions. Each permission names itself."""

    def __init__(self, roles: Mapping[str, Iterable[Permission]]) -> None:
        self._sets = {**{name: frozenset(held) for name, held in roles.items()}, **_NAMES}

    def permissions(self, names: Iterable[str]) -> frozenset[Permission]:
        """The permissions that names stand for. Raises ValueError if one is of neither a permission nor a role."""
        names = tuple(names)
        for name in names:
            if name not in self._sets:
                raise ValueError(f"{name[:100]!r} is neither a permission nor a role")
        return self.known(names)

    def known(self, names: Iterable[str]) -> frozenset[Permission]:
        """The permissions that names stand for; other names mean nothing."""
        return frozenset().union(*(self._sets.get(name, ()) for name in names))


class Grant(BaseModel):
    """What an entry of a file grants: permissions in namespaces, of which the first is the default one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    permissions: PermissionNames
    namespace: NamespaceName | None = None
    namespaces: Annotated[tuple[NamespaceName, ...], Field(min_length=1, max_length=MAX_NAMESPACES)] | None = None

    def caller(self, identity: str, roles: Roles, expires: float | None = None) -> Caller:
        """The identity with what is granted. Raises ValueError if that cannot be granted."""
        if self.namespace is not None and self.namespaces is not None:
            raise ValueError("give namespace or namespaces, and not both")
        permissions = roles.permissions(self.permissions)
        named = (self.namespace,) if self.namespace is not None else self.namespaces
        if named is not None and Permission.ADMIN in permissions:
            raise ValueError("admin is for all namespaces; it has none of its own")
        return caller_of(identity, permissions, named or (DEFAULT_NAMESPACE,), expires)


def caller_of(
    identity: str, permissions: frozenset[Permission], namespaces: Sequence[str], expires: float | None = None
) -> Caller:
    """A caller that has named no namespace: it has its first one, or with `admin` all of them."""
    own = tuple(dict.fromkeys(namespaces))
    view = ALL if Permission.ADMIN in permissions else CallerView(own[0])
    return Caller(identity, view, permissions, own, expires)
