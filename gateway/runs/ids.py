"""The ids that requests name, in their canonical spelling."""

from gateway.core.errors import InvalidBlobId, InvalidRunId, Violation
from gateway.core.model import blob_digest, blob_id_of, canonical_run_id


def checked_blob_id(text: str, field: str) -> str:
    """The id of a blob in a field. Raises InvalidBlobId if it is none."""
    digest = blob_digest(text)
    if digest is None:
        raise InvalidBlobId([Violation((field,), "expected 'sha256:' and 64 hex digits, or the digits alone")])
    return blob_id_of(digest)


def checked_run_id(text: str) -> str:
    """The id of a run in the field `run_id`. Raises InvalidRunId if it is none."""
    run_id = canonical_run_id(text)
    if run_id is None:
        raise InvalidRunId([Violation(("run_id",), "expected a UUID")])
    return run_id
