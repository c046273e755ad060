"""Snapshots of runs from what an upstream tells: a status, or an event of a gateway's stream.

A status has no revision, so one is derived from how far the run has got: first how many items have finished, then how
many execute; the terminal state is above all. So every gateway over the same upstream gives about the same revisions,
before and after a restart. Where a state follows another without having got further (an item that executes again, a
paused run), `successor` counts up from the one before; the next item that finishes is above that again.
"""

from typing import NamedTuple

from msgspec.structs import replace

from gateway.adapter.params_json import resume_token_from_text
from gateway.adapter.status_from_json import run_status_from_json
from gateway.core.errors import InvalidParams, RemoteError
from gateway.core.json_text import boolean, integer
from gateway.core.model import JsonText, RunState, RunStatus, blob_digest, blob_id_of, canonical_run_id
from gateway.core.runtime import Snapshot
from gateway.runtimes.jsonrpc.answers import Event, unreadable


class StreamedState(NamedTuple):
    """An event of a stream: the state, with the results that are new in it, and the resume token after it."""

    status: RunStatus
    revision: int
    completions: int
    prefix: int
    restarted: bool
    token: bytes

    @property
    def snapshot(self) -> Snapshot:
        """The state without results, with the revision of the upstream."""
        status = replace(self.status, results=None)
        return Snapshot(status, self.revision, self.completions, self.prefix)


def canonical(status: RunStatus, run_id: str | None = None) -> RunStatus:
    """Return a status with canonical ids. Raises RemoteError if it is not the status of `run_id`."""
    given = canonical_run_id(status.run_id)
    if given is None:
        raise RemoteError(RemoteError.code, "the upstream has sent a run id that is not a UUID")
    if run_id is not None and given != run_id:
        raise RemoteError(RemoteError.code, "the upstream has sent the status of another run")
    digest = blob_digest(status.flow_id)
    flow_id = status.flow_id if digest is None else blob_id_of(digest)
    if (given, flow_id) == (status.run_id, status.flow_id):
        return status
    return replace(status, run_id=given, flow_id=flow_id)


def snapshot_of(status: RunStatus, prefix: int) -> Snapshot:
    """The snapshot of a status without results. At least `prefix` leading items have finished."""
    items = status.items
    completions = items.success + items.failed + items.cancelled
    if status.status.terminal or completions >= items.total:
        prefix = items.total
    status = status if status.results is None else replace(status, results=None)
    return Snapshot(status, _revision(status, completions), completions, prefix)


def successor(latest: Snapshot | None, snapshot: Snapshot) -> Snapshot | None:
    """The snapshot, with a revision above that of the one before; None if it tells nothing new.

    A state with fewer finished items is an old one, of a replica of the upstream perhaps.
    """
    if latest is None or snapshot.revision > latest.revision:
        return snapshot
    old = snapshot.completions < latest.completions and not snapshot.terminal
    if old or replace(snapshot, revision=latest.revision) == latest:
        return None
    return replace(snapshot, revision=latest.revision + 1)


def caught_up(snapshot: Snapshot, revision: int) -> Snapshot | None:
    """The snapshot, which has just been read, for a client that has been shown a revision; None if the run was further.

    Another gateway may have counted up to this revision while the run got no further. Then this is the same state, or a
    later one, and gets the same revision.
    """
    if snapshot.revision >= revision:
        return snapshot
    level = _level(snapshot.status.items.total)
    return replace(snapshot, revision=revision) if revision // level == snapshot.revision // level else None


def read_state(event: Event, run_id: str) -> StreamedState:
    """Read an event."""
    try:
        status = canonical(run_status_from_json(event.params), run_id)
        extensions = dict(status.extensions)
        revision = integer(extensions.pop("revision", "null"), "revision")
        prefix = integer(extensions.pop("finishedPrefix", "0"), "finishedPrefix")
        completions = integer(extensions.pop("resultCount", "0"), "resultCount")
        restarted = boolean(extensions.pop("restarted", "false"), "restarted")
        extensions.pop("heartbeat", None)
    except InvalidParams as error:
        raise unreadable(error) from None
    status = replace(status, extensions=extensions)
    return StreamedState(status, revision, completions, prefix, restarted, resume_token_from_text(event.id))


def read_status(text: JsonText, run_id: str | None = None) -> RunStatus:
    """Read an answer of runs/submit or runs/get, without its results."""
    try:
        return replace(canonical(run_status_from_json(text), run_id), results=None)
    except InvalidParams as error:
        raise unreadable(error) from None


def _revision(status: RunStatus, completions: int) -> int:
    total = status.items.total
    level = _level(total)
    if status.status.terminal:
        return (total + 1) * level
    return min(completions, total) * level + min(status.items.running, total) + (status.status is not RunState.PENDING)


def _level(total: int) -> int:
    """How far the revisions of a run are apart when one more of its items has finished."""
    # As many states again as there are items fit in between, and the revision into 53 bits up to 2^25 items.
    return 2 * (total + 2)
