"""Why a component did not execute."""

from enum import IntEnum
from typing import Final

from gateway.core.model import JsonText


class Code(IntEnum):
    """The codes of failures that are found here rather than reported by a server; numbers of the component protocol."""

    COMPONENT_NOT_FOUND = -32001
    TIMED_OUT = -32300
    NOT_STARTED = -32301
    """One that is started here. Where nobody listens at a URL, it is CONNECTION_LOST, as in the protocol."""
    CONNECTION_LOST = -32302
    PROTOCOL_BROKEN = -32303


TRANSPORT_CODES: Final = range(-32399, -32299)
"""The codes of the component protocol for failures between the runtime and a component server."""


class ComponentError(Exception):
    """The server answered with an error, or could not be asked.

    `code`, `message` and `data` (the text of a JSON value) are those of the server, or a `Code` and what happened.
    `unreachable`: the server was not reached, or was lost before it answered; another attempt may find it again.
    `recurs`: the server has executed the component, and would answer another attempt in the same unusable way.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        data: JsonText | None = None,
        unreachable: bool = False,
        recurs: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.unreachable = unreachable
        self.recurs = recurs

    @property
    def failed_transport(self) -> bool:
        """Whether it tells nothing about the component: the way to it has failed."""
        return self.code in TRANSPORT_CODES

    @property
    def may_pass(self) -> bool:
        """Whether the way to the component has failed, and another attempt may find it in order."""
        return self.failed_transport and not self.recurs

    def again(self) -> "ComponentError":
        """The same error for another caller, to be raised on its own."""
        return ComponentError(self.code, self.message, data=self.data, unreachable=self.unreachable, recurs=self.recurs)


class RequestNotReceived(ComponentError):
    """The server has certainly not seen the request: its connection was closed while nothing was asked on it."""
