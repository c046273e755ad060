"""What a worker asks the runtime of its gateway for, and what it is answered.

Both ends are of one release: these messages are no contract. They hold small things: what is long
goes over gRPC, which has parts and turns for it.
"""

from typing import Final, TypeAlias

from msgspec import Raw, Struct

from gateway.core.model import ItemResult, SubmitParams
from gateway.core.runtime import Page, Snapshot

MAX_INPUTS: Final = 256
MAX_INPUT_TEXT: Final = 16 << 10
"""The most inputs of a submit on a link, and the most characters of all of them: some 50 us of work at each end."""

MAX_RESULTS: Final = 256
MAX_RESULT_TEXT: Final = 64 << 10
"""The same for results in a message. A page of more has several messages."""

MAX_NAME: Final = 1 << 10
"""The most characters of the name of a flow."""

MAX_LABEL_TEXT: Final = 2 << 10
"""The most characters of all labels of a run."""


class LinkMessage(Struct, array_like=True, gc=False):
    """A message of a call; the side that asks gives it its number."""

    call: int


class AskSubmit(LinkMessage, tag=0):
    """Accept a run. The answer is its state. `trace` are the headers of the trace that it is part of, if any."""

    params: SubmitParams
    trace: dict[str, str] | None = None


class AskState(LinkMessage, tag=1):
    """Tell the state of a run; with a `revision`, one that is not older, or None if there is no such state."""

    run_id: str
    revision: int | None = None


class AskPage(LinkMessage, tag=2):
    """Read results of a run."""

    run_id: str
    page: Page


class AskWatch(LinkMessage, tag=3):
    """Tell the state of a run, and each one that follows, but not those that the link is too slow for."""

    run_id: str


class EndWatch(LinkMessage, tag=4):
    """Follow a run no more."""


class ToldState(LinkMessage, tag=0):
    """The state of a run; None if there is none that was asked for."""

    snapshot: Snapshot | None


class EncodedState(LinkMessage, tag=0):
    """The same, of a state that many are told: to the other side, it is a ToldState."""

    snapshot: Raw


class ToldResults(LinkMessage, tag=1):
    """Some results of a page, and whether more of them follow."""

    results: list[ItemResult]
    more: bool


class NotOverLink(LinkMessage, tag=2):
    """The answer is not for a link. The call has ended; over gRPC, the state and the results of this run can be had."""

    run_id: str


class ToldError(LinkMessage, tag=3):
    """The error that has ended a call, as a gRPC status."""

    code: int
    message: str
    details: bytes


Asked: TypeAlias = AskSubmit | AskState | AskPage | AskWatch | EndWatch
Told: TypeAlias = ToldState | ToldResults | NotOverLink | ToldError
