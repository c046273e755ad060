"""The canonical messages of the methods that cancel, list and delete runs, and that look into one.

Their requests have no `extensions`: a member that is not known could mean anything, so adapters refuse it.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from gateway.core.errors import shortened
from gateway.core.items import Item
from gateway.core.model import MAX_REASON, MAX_TIMEOUT, Count, Message, RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder

DEFAULT_PAGE: Final = 100
"""How many runs or items a page has at most if the request does not say it."""

MAX_PAGE: Final = 1_000
"""How many runs or items a page has at most, whatever the request says."""

_Id = Annotated[str, Meta(min_length=1)]
_Reason = Annotated[str, Meta(max_length=MAX_REASON)]


class CancelParams(Message, frozen=True, kw_only=True):
    """Parameters of a cancel of one run. `timeout` is in seconds."""

    run_id: _Id
    reason: _Reason | None = None
    wait: bool = False
    timeout: Annotated[float, Meta(ge=0, le=MAX_TIMEOUT)] | None = None


class CancelRunsParams(Message, frozen=True, kw_only=True):
    """Parameters of a cancel of all runs that match a filter."""

    filter: RunFilter
    reason: _Reason | None = None


class ListParams(Message, frozen=True, kw_only=True):
    """Parameters of a list. A `page_size` of 0 means DEFAULT_PAGE."""

    filter: RunFilter = RunFilter()
    page_size: Count = 0
    page_token: str = ""
    order: RunOrder = RunOrder.NEWEST_FIRST
    include_total: bool = False


class RunList(Struct, frozen=True, gc=False):
    """A page of runs without results. `next_page_token` is empty if no run follows.

    `size` is about how large the runs are in an answer, in bytes, if that has been found out.
    """

    runs: list[RunStatus]
    next_page_token: str = ""
    total_size: int | None = None
    size: int = 0


class DeleteParams(Message, frozen=True, kw_only=True):
    """Parameters of a delete of one run."""

    run_id: _Id
    cancel: bool = False


class DeleteRunsParams(Message, frozen=True, kw_only=True):
    """Parameters of a delete of all runs that match a filter."""

    filter: RunFilter
    cancel: bool = False


class BulkProgress(Struct, frozen=True, gc=False):
    """How far a cancel or a delete of many runs has come: `done` is how many it has cancelled, or deleted."""

    matched: int
    done: int
    unchanged: int


class ItemsParams(Message, frozen=True, kw_only=True):
    """Parameters of a list of items. A `page_size` of 0 means DEFAULT_PAGE."""

    run_id: _Id
    states: tuple[RunState, ...] = ()
    page_size: Count = 0
    page_token: str = ""
    include_inputs: bool = False


class ItemList(Struct, frozen=True, gc=False):
    """A page of items, by index. `next_page_token` is empty if no item follows. `size` is that of a `RunList`."""

    items: list[Item]
    next_page_token: str = ""
    size: int = 0


def page_limit(page_size: int) -> int:
    """How many entries a page has at most, by what the request says."""
    return min(page_size, MAX_PAGE) if page_size else DEFAULT_PAGE


def reason_inside(run_id: str, reason: str | None) -> str:
    """Why a run is cancelled that is inside another one, which was cancelled for a reason."""
    text = f"the run {run_id}, which this one is inside, was cancelled"
    return shortened(f"{text}: {reason}", MAX_REASON) if reason else text
