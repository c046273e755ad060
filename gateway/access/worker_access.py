"""Who calls over the private socket by which workers reach the runtime of their gateway."""

import msgspec

from gateway.access.access import Access
from gateway.access.presented import Presented
from gateway.core.caller import ANYBODY, Caller, CallerView
from gateway.core.errors import InvalidRequest
from gateway.core.owner import Owner


class WorkerAccess(Access):
    """Believes workers: they have found the caller, and tell the namespace, or the owner of the run that is submitted.

    Nothing else may listen with it: there is no check.
    """

    configured = False

    def known(self, presented: Presented) -> Caller:
        """The caller that a worker tells. Raises InvalidRequest if the owner cannot be decoded."""
        if presented.owner is not None:
            try:
                return Caller.of_component(msgspec.msgpack.decode(presented.owner, type=Owner))
            except msgspec.DecodeError:
                raise InvalidRequest("the owner of the run cannot be decoded") from None
        return ANYBODY if presented.namespace is None else Caller(view=CallerView(presented.namespace))

    async def identify(self, presented: Presented) -> Caller:
        """The caller, as `known` says."""
        return self.known(presented)

    async def close(self) -> None:
        """Nothing is looked after."""
