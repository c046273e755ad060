"""The place that decides who a caller is."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gateway.access.audit import SILENT, AuditLog
from gateway.access.limits import NO_LIMITS, CallerLimits
from gateway.access.presented import Presented
from gateway.core.caller import ANYBODY, Caller, CallerView
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.core.owner import NAMESPACE_KEY, is_namespace
from gateway.core.tokens import CreatedToken, TokenParams

if TYPE_CHECKING:
    from gateway.access.capabilities import Capabilities


class Access(ABC):
    """Tells callers from what they present."""

    configured: bool = True
    """Whether there are identities. If not, everybody may do everything."""
    limits: CallerLimits = NO_LIMITS
    """How much callers may do."""
    audit: AuditLog = SILENT
    """The log of what callers do."""

    capabilities: "Capabilities | None" = None
    """What tells component servers, which present nothing else; None if they need nothing."""

    @abstractmethod
    def known(self, presented: Presented) -> Caller | None:
        """The caller, if that can be told at once; None if it is to be asked for by `identify`.

        Raises Unauthenticated, and PermissionDenied if the namespace is none of the caller's.
        """

    @abstractmethod
    async def identify(self, presented: Presented) -> Caller:
        """The caller. Raises as `known` does."""

    def create_token(self, caller: Caller, params: TokenParams) -> CreatedToken:
        """Make a token for less than the caller may do, valid for a short time.

        Raises PermissionDenied if the caller does not hold what it grants, InvalidParams if it grants nothing that has
        a meaning, and Unsupported if there is no signing key.
        """
        raise Unsupported("this gateway makes no tokens: it has no signing key")

    @abstractmethod
    async def close(self) -> None:
        """Look after keys and files no more."""


class OpenAccess(Access):
    """The access of a gateway without identities: everybody sees everything, or the namespace that it names."""

    configured = False

    def known(self, presented: Presented) -> Caller:
        """Anybody. Raises InvalidRequest if the namespace cannot be one."""
        if presented.namespace is None:
            return ANYBODY
        if not is_namespace(presented.namespace):
            raise InvalidRequest(f"{NAMESPACE_KEY} is not the name of a namespace")
        return Caller(view=CallerView(presented.namespace))

    async def identify(self, presented: Presented) -> Caller:
        """Anybody, as `known` says."""
        return self.known(presented)

    async def close(self) -> None:
        """Nothing is looked after."""


class ComponentAccess(OpenAccess):
    """The access of components: they are told by the runs that they execute."""

    def create_token(self, caller: Caller, params: TokenParams) -> CreatedToken:
        """Raise Unsupported: a token might be valid for longer than what has submitted the run."""
        raise Unsupported("components make no tokens")
