"""The place that decides who a caller is."""

from abc import ABC, abstractmethod

from gateway.access.presented import Presented
from gateway.core.caller import ANYBODY, Caller, CallerView
from gateway.core.errors import InvalidRequest
from gateway.core.owner import is_namespace


class Access(ABC):
    """Tells callers from what they present."""

    configured: bool = True
    """Whether there are identities. If not, everybody may do everything."""

    @abstractmethod
    def known(self, presented: Presented) -> Caller | None:
        """The caller, if that can be told at once; None if it is to be asked for by `identify`.

        Raises Unauthenticated, and PermissionDenied if the namespace is none of the caller's.
        """

    @abstractmethod
    async def identify(self, presented: Presented) -> Caller:
        """The caller. Raises as `known` does."""

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
            raise InvalidRequest("runs-namespace is not the name of a namespace")
        return Caller(view=CallerView(presented.namespace))

    async def identify(self, presented: Presented) -> Caller:
        """Anybody, as `known` says."""
        return self.known(presented)

    async def close(self) -> None:
        """Nothing is looked after."""
