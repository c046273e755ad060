"""Responses of another gateway -> snapshots, results and blobs. No I/O.

The functions raise RemoteError if a response is not as it should be.
"""

from gateway.adapter import blobs_proto, status_proto
from gateway.core.errors import InvalidParams, RemoteError
from gateway.core.model import Blob, ItemResult
from gateway.core.position import ResumePoint, of_page
from gateway.core.runtime import Page, Snapshot
from runs.v1 import blobs_pb2, runs_pb2


def submitted_snapshot(response: runs_pb2.SubmitRunResponse) -> Snapshot:
    """Read the answer to a submit.

    It has no revision. The snapshot has the lowest one, so that everything that is read of the run later is newer.
    """
    # A run that has ended by now has a result for each item.
    items = response.run.items
    ended = items.success + items.failed == items.total
    count = items.total if ended else 0
    return snapshot_of(runs_pb2.GetRunResponse(run=response.run, result_count=count, finished_prefix=count))


def ended_snapshot(response: runs_pb2.CancelRunResponse) -> Snapshot:
    """Read the answer to a cancel. It has no revision, and the snapshot has the lowest one, as after a submit."""
    count = response.run.items.total
    return snapshot_of(runs_pb2.GetRunResponse(run=response.run, result_count=count, finished_prefix=count))


def snapshot_of(response: runs_pb2.GetRunResponse) -> Snapshot:
    """Read the state of a run."""
    try:
        status = status_proto.run_status_from_proto(response.run, with_results=False)
    except InvalidParams as error:
        raise unexpected_response(error) from error
    return Snapshot(status, response.revision, response.result_count, response.finished_prefix)


def results_of_page(response: runs_pb2.GetRunResponse, page: Page, received: int) -> tuple[list[ItemResult], bool]:
    """Read one response of a stream of results, of which `received` results came before.

    Returns the results that belong to the page, and whether more of them can follow.
    """
    status = response.run
    if response.restarted:
        raise RemoteError(RemoteError.code, "the upstream gateway does not understand the position of this one")
    try:
        results = status_proto.run_status_from_proto(status, with_results=True).results or []
    except InvalidParams as error:
        raise unexpected_response(error) from error
    return of_page(page, results, ResumePoint.from_token(response.resume_token, status.run_id, page.order), received)


def blob_of(response: blobs_pb2.GetBlobResponse) -> Blob:
    """Read a blob."""
    try:
        return blobs_proto.blob_from_get_response(response)
    except InvalidParams as error:
        raise unexpected_response(error) from error


def unexpected_response(error: InvalidParams) -> RemoteError:
    """The error for a message of the upstream that is not the client's fault."""
    return RemoteError(RemoteError.code, f"unexpected response from the upstream gateway: {error.message}")
