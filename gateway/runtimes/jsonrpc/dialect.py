"""The dialects of the runs methods: what to write to an upstream, what its errors mean, and which one it speaks.

Answers are read in any dialect, so a dialect matters for what is sent, and for what may be expected.
"""

import re
import uuid
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from gateway.adapter import params_json
from gateway.adapter.overrides_json import divided_overrides
from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    GatewayError,
    InvalidParams,
    NotFound,
    Overloaded,
    RemoteError,
    RunNotFound,
    Unavailable,
)
from gateway.core.internal_errors import release_frames
from gateway.core.json_text import quote
from gateway.core.model import JsonText, SubmitParams, blob_digest

Ask = Callable[[str, JsonText], Awaitable[JsonText]]
"""Calls a method with parameters and returns its result, or raises the error that was answered."""

SUBMIT: Final = "runs/submit"
GET: Final = "runs/get"
PUT_BLOB: Final = "blobs/put"
GET_BLOB: Final = "blobs/get"

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_NOTHING: Final = "0" * 64
"""Ids that name nothing, whatever has been stored."""

_UNKNOWN: Final = -32000
_UNKNOWN_BLOB: Final = -32011
"""Codes of Stepflow 0.9 and 0.10 for an unknown run, and for a flow or blob that is unknown."""

_SAYS_UNKNOWN = re.compile(
    r"failed to get (run|blob)|not found|unknown|no such|does not exist|no (run|blob)\b", re.IGNORECASE
)
_KEY_NAMESPACE = uuid.UUID("6f1d1c9e-5b7a-5d0e-9b1f-2f4a5f0c7a11")


class Dialect(StrEnum):
    """How an upstream spells the runs methods."""

    DOCUMENT = "document"
    """The specification, to the letter."""

    SUPERSET = "superset"
    """Another runs-gateway: all spellings at once, idempotency keys that are honoured, and event streams."""

    V0_9 = "0.9"
    """Stepflow 0.9: ids of blobs without prefix, `by_completion`, blobs by JSON-RPC."""

    V0_10 = "0.10"
    """Stepflow 0.10 and 0.11: as 0.9, but each submit has a key, `timeoutSecs` is known, and blobs have a REST API."""

    @property
    def snake_case(self) -> bool:
        """Whether values of enumerations are spelled in snake_case, and ids of blobs without a prefix."""
        return self in (Dialect.V0_9, Dialect.V0_10)

    @property
    def honours_keys(self) -> bool:
        """Whether a submit may be repeated if it has a key."""
        return self is Dialect.SUPERSET

    @property
    def knows_timeout(self) -> bool:
        """Whether waiting ends after `timeoutSecs`, with the current status."""
        return self in (Dialect.SUPERSET, Dialect.V0_10)

    @property
    def blobs_by_rest(self) -> bool:
        """Whether blobs have a REST API and no methods."""
        return self is Dialect.V0_10

    def submit_params(self, params: SubmitParams, key: str | None) -> JsonText:
        """The parameters of runs/submit. `key` is the idempotency key at the upstream, instead of that of the client.

        Variables and label are passed on in every dialect, as the gateway spells them: no dialect defines them.
        """
        changes: dict[str, object] = {"wait": False, "timeout": None, "idempotency_key": None}
        if self.snake_case:
            changes["flow_id"] = blob_digest(params.flow_id) or params.flow_id
            changes["overrides"] = self._overrides(params.overrides)
        if self is Dialect.V0_10:
            changes["idempotency_key"] = str(uuid.uuid4() if key is None else uuid.uuid5(_KEY_NAMESPACE, key))
        elif self.honours_keys:
            changes["idempotency_key"] = key
        return params_json.submit_params_to_json(replace(params, **changes))

    def get_params(self, run_id: str) -> JsonText:
        """The parameters of runs/get for the state of a run."""
        return f'{{"runId":{quote(run_id)}}}'

    def results_params(self, run_id: str) -> JsonText:
        """The parameters of runs/get for all results in the order of completion."""
        order = "by_completion" if self.snake_case else "byCompletion"
        return f'{{"runId":{quote(run_id)},"includeResults":true,"resultOrder":"{order}"}}'

    def wait_params(self, run_id: str, seconds: int) -> JsonText:
        """The parameters of runs/get that waits for the end of a run, for so long where that can be said."""
        timeout = f',"timeoutSecs":{seconds}' if self.knows_timeout else ""
        return f'{{"runId":{quote(run_id)},"wait":true{timeout}}}'

    def _overrides(self, text: JsonText | None) -> JsonText | None:
        """Overrides as 0.9 takes them, `{step: override}`, or 0.10 does: the same under `steps`."""
        if text is None:
            return None
        text, steps = divided_overrides(text)
        if self is Dialect.V0_10:
            return f'{{"steps":{text}}}' if steps is None else text
        return text if steps is None else steps


def map_error(method: str, error: GatewayError) -> GatewayError:
    """Return the error of an upstream as this gateway's: method and message may tell more than its code."""
    kind: type[NotFound] | None = None
    code, told = error.jsonrpc_code, _SAYS_UNKNOWN.search(error.message) is not None
    unspecific = type(error) is NotFound or code == _UNKNOWN_BLOB
    if method == GET and code == _UNKNOWN and told:
        kind = RunNotFound
    elif method == SUBMIT and unspecific:
        kind = FlowNotFound
    elif method == GET_BLOB and (unspecific or (code == _UNKNOWN and told)):
        kind = BlobNotFound
    if kind is None or isinstance(error, kind):
        return error
    return kind(error.message, data=error.data, retry_after=error.retry_after)


async def detect(ask: Ask) -> Dialect:
    """Return the dialect of an upstream, told by how it refuses ids that name nothing. It executes and stores nothing.

    Raises Unavailable, Overloaded, or RemoteError if the upstream speaks no JSON-RPC.
    """
    refusal = await _refusal(ask, GET, f'{{"runId":"{NOBODY}","resultOrder":"byIndex"}}')
    if isinstance(refusal, RunNotFound):
        # Only another gateway gives the reason, which made it this class.
        return Dialect.SUPERSET
    if not isinstance(refusal, InvalidParams):
        return Dialect.DOCUMENT
    # Bad parameters: the order, if the other spelling of it is better, else the run.
    refusal = await _refusal(ask, GET, f'{{"runId":"{NOBODY}","resultOrder":"by_index"}}')
    if isinstance(refusal, InvalidParams):
        return Dialect.DOCUMENT
    # What lacks its key has bad parameters; 0.9 goes on to look for the flow.
    refusal = await _refusal(ask, SUBMIT, f'{{"flowId":"{_NOTHING}","inputs":[]}}')
    return Dialect.V0_10 if isinstance(refusal, InvalidParams) else Dialect.V0_9


async def probe(ask: Ask) -> None:
    """Return if an upstream answers at all. Raises the errors of `detect`."""
    await _refusal(ask, GET, f'{{"runId":"{NOBODY}"}}')


async def _refusal(ask: Ask, method: str, params: JsonText) -> GatewayError | None:
    """Return the error that the upstream answers with; None if it does not refuse."""
    try:
        await ask(method, params)
    except (Unavailable, Overloaded):
        raise
    except GatewayError as error:
        if isinstance(error, RemoteError) and error.remote_code == RemoteError.code:
            raise  # The upstream has not understood, or its answer is not JSON-RPC.
        release_frames(error)
        return error
    return None
