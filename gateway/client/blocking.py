# Made from asynchronous.py by `make blocking-client`; changes belong there.
"""The blocking client."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Unpack

from gateway.adapter import blobs_proto, params_proto
from gateway.client import requests
from gateway.client.control_blocking import ControlCalls
from gateway.client.failure import UploadFailed, in_doubt, naming
from gateway.client.lists_blocking import ListCalls
from gateway.client.outage import Outage, deadline_after, first_call_timeout, time_until
from gateway.client.payload import Json, flow_text
from gateway.client.requests import HEARTBEAT_INTERVAL, RunWatch, SubmitOptions
from gateway.client.status import ItemResult, RunStatus, RunUpdate, answered
from gateway.client.streams import Fold, ManyRunsStream, RunEvent, RunStream, Unseen
from gateway.client.tokens_blocking import TokenCalls
from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, SubmitParams


class RunsClient(ControlCalls, ListCalls, TokenCalls):
    """A blocking client of the gateway.

    `target` is `HOST:PORT`, `grpcs://HOST:PORT` (over TLS), `unix:/PATH`, or a gRPC channel, which the client uses and
    does not close. TLS, a token and a namespace are given as `SecurityOptions` says; those of TLS have no meaning for a
    channel.

    Calls that are soon answered share one connection, and streams have others, 100 on each, since proxies allow no
    more. Idle connections are closed. If `target` is a channel, it takes all calls, as many as it is allowed.
    It has to receive messages of any size then, as with `CHANNEL_OPTIONS`.

    A call that finds the gateway unreachable or overloaded is retried with exponential back-off, for at most
    `retry_for` seconds since the gateway last answered (0: no retries; None: no limit). A retried call takes effect at
    most once. `timeout` limits each call that does not wait for a run to so many seconds, retries included (None: no
    limit); the `timeout` of such a method replaces it. A method that waits for a run ends with the `timeout` that it is
    given; the last answer of the gateway may take 5 seconds more.

    All methods raise the errors of this package. Raises Unavailable or Overloaded if the gateway cannot be reached, or
    takes nothing, for `retry_for` seconds, TimeoutError if the time of a call has passed, and another GatewayError,
    such as InvalidParams or RunNotFound, if the gateway refuses the call. Raises ValueError if the client is closed,
    and when it is made with a target that can be none.

    After the TimeoutError or Unavailable of a submit, its run may exist or not: the answer was lost, or is still to
    come. A submit of the same parameters with the same `idempotency_key` returns the run, or accepts it now. If none
    was given, the message of the TimeoutError has the one that was used.

    Use it as a context manager, or close it. Threads may share it. An iterator that is left before its
    end keeps its call open until it is closed: use `contextlib.closing`.
    """

    def put_flow(self, flow: str | bytes | Json | Mapping[str, Any], *, timeout: float | None = None) -> str:
        """Store a flow and return its id, `sha256:` and 64 hexadecimal digits.

        The flow is JSON text, which is stored as it stands, or a mapping. The same flow always has the same id.
        Raises InvalidFlow if it is not a flow.
        """
        request = blobs_proto.blob_to_put_request(Blob(flow_text(flow), BlobType.FLOW))
        putting = self._call(
            "runs.v1.BlobsService/PutBlob", lambda to, seconds: to.blobs.PutBlob(request, timeout=seconds), timeout
        )
        return (putting).blob_id

    def submit(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run with one item for each input, and return its status without waiting for results.

        Inputs are Python values or Json. Their number and size have no limit here: many are sent in several messages.
        Raises FlowNotFound if no flow with this id is stored, InvalidParams if an input or an option is not valid, and
        IdempotencyConflict if the idempotency key belongs to a run with other parameters.
        """
        params = requests.submit_params(flow_id, inputs, **options)
        if not requests.fits(params):
            return self._submit_in_parts(params, self._outage(timeout))
        request = params_proto.submit_params_to_proto(params)
        with in_doubt(params.idempotency_key):
            return answered(
                self._call(
                    "runs.v1.RunsService/SubmitRun",
                    lambda to, seconds: to.runs.SubmitRun(request, timeout=seconds),
                    timeout,
                )
            )

    def submit_stream(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run as `submit` does, and send its inputs while they are produced: they need not fit in memory.

        Execution starts after the last input. If `inputs` raises, the error is raised here and no run exists. Inputs
        that can be iterated again (a list, an object whose `__iter__` starts anew) are sent again after
        a lost connection. An iterator cannot be: for it, Unavailable is raised at the first lost connection; call again
        with new inputs and the same idempotency key.

        `timeout` limits the whole call, the production of inputs included, to so many seconds; None means no limit.
        An iterator that blocks is not interrupted, but asked for nothing more.
        """
        params = requests.submit_params(flow_id, (), **options)
        return self._submit_in_parts(params, Outage(self._retry_for, deadline_after(timeout)), inputs)

    def submit_and_wait(
        self,
        flow_id: str,
        inputs: Iterable[object],
        *,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> RunStatus:
        """Submit a run as `submit` does, and return its status with its results when it has finished.

        After `timeout` seconds, the status and the results at that moment are returned, and the run continues. A lost
        connection is made again and loses nothing.

        Raises TimeoutError if the submit has not been answered in that time, which is 5 seconds at least here, or in
        that of all calls: the run may have been accepted. Errors that come later name the run.
        """
        deadline = deadline_after(timeout)
        run = self.submit(flow_id, inputs, timeout=first_call_timeout(timeout, self._timeout), **options)
        with naming(run.run_id):
            return self.wait(run.run_id, include_results=True, order=order, timeout=time_until(deadline))

    def get(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the present status of a run, if asked for with the results of the items that have finished.

        Raises RunNotFound if the run does not exist, and InvalidRunId if `run_id` cannot be the id of a run.
        """
        params = requests.get_params(run_id, include_results=include_results, result_order=order)
        return self._folded(RunStream(params, self._outage(timeout)))

    def wait(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> RunStatus:
        """Return the status of a run as `get` does, but only when it has finished or `timeout` seconds have passed."""
        params = requests.wait_params(run_id, include_results=include_results, order=order, timeout=timeout)
        return self._folded(RunStream(params, Outage(self._retry_for)))

    def watch(
        self,
        run_id: str,
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        timeout: float | None = None,
        resume_token: bytes = b"",
    ) -> Generator[RunUpdate, None, None]:
        """Yield the state of a run, then each change, until it has finished or `timeout` seconds have passed.

        Intermediate states may be skipped, results never. A lost connection is made again, and the updates continue
        where they stopped; each result comes once, unless an update is marked `restarted`. `resume_token`, that of an
        earlier update, continues after that update. The gateway sends a heartbeat every `heartbeat_interval` seconds,
        at least 0.1; the connection counts as lost if three of them are missing. Raises errors as `get` does.
        """
        params = requests.wait_params(
            run_id,
            include_results=include_results,
            order=order,
            heartbeat_interval=heartbeat_interval,
            timeout=timeout,
            resume_token=resume_token,
        )
        return self._updates(RunStream(params, Outage(self._retry_for)))

    def results(
        self,
        run_id: str,
        *,
        order: ResultOrder = ResultOrder.BY_INDEX,
        timeout: float | None = None,
    ) -> Generator[ItemResult, None, None]:
        """Yield each result of a run once, until the run has finished or `timeout` seconds have passed.

        By completion, a result comes as soon as its item has finished; by index, when all items before it have
        finished as well. Raises errors as `get` does.
        """
        params = requests.wait_params(run_id, include_results=True, order=order, timeout=timeout)
        return self._results(RunStream(params, Outage(self._retry_for)))

    def watch_many(
        self,
        runs: Iterable[str | RunWatch],
        *,
        include_results: bool = False,
        order: ResultOrder = ResultOrder.BY_INDEX,
        heartbeat_interval: float = HEARTBEAT_INTERVAL,
        timeout: float | None = None,
    ) -> Generator[tuple[str, RunEvent], None, None]:
        """Watch many runs on one stream, and yield pairs of a run's id and an update of it, as `watch` does.

        The last event of a run is RunEnded, or the GatewayError for which the run cannot be followed; that error is
        not raised, and the other runs continue. `include_results` and `order` are for the runs that are given by id
        alone. With very many runs, heartbeats are less frequent than `heartbeat_interval` says.
        """
        return self._many(*requests.many_params(runs, include_results, order, heartbeat_interval, timeout))

    def _folded(self, stream: RunStream) -> RunStatus:
        fold = Fold()
        with closing(self._updates(stream)) as updates:
            for update in updates:
                fold.add(update)
        return fold.status()

    def _results(self, stream: RunStream) -> Generator[ItemResult, None, None]:
        unseen = Unseen()
        with closing(self._updates(stream)) as updates:
            for update in updates:
                yield from unseen.of(update)

    def _many(
        self, watched: Sequence[GetParams], refused: Iterable[tuple[str, GatewayError]]
    ) -> Generator[tuple[str, RunEvent], None, None]:
        yield from refused
        if not watched:
            return
        stream = ManyRunsStream(watched, lambda: Outage(self._retry_for))
        method = "runs.v1.RunsService/WatchRuns"
        events = self._events(method, stream, lambda to: to.runs.WatchRuns(iter(stream.requests())))
        with closing(events):
            yield from events

    def _updates(self, stream: RunStream) -> Generator[RunUpdate, None, None]:
        return self._events(
            "runs.v1.RunsService/GetRun",
            stream,
            lambda to: to.runs.GetRun(stream.request(), timeout=stream.call_timeout()),
        )

    def _submit_in_parts(
        self, params: SubmitParams, outage: Outage, inputs: Iterable[object] | None = None
    ) -> RunStatus:
        """Submit a run in several messages, with other inputs than those of `params` if they are given."""
        with self._spans.call("runs.v1.RunsService/SubmitRunStream") as span:
            while True:
                try:
                    with self._connection(stream=True) as connection:
                        return answered(connection.upload(params, inputs, outage.remaining()))
                except UploadFailed as failed:
                    error = failed.reason
                try:
                    with in_doubt(params.idempotency_key):
                        if not requests.repeatable(inputs):
                            raise error
                        pause = outage.pause(error)
                finally:
                    del error  # It holds this frame.
                span.again()
                self._pauses.pause(pause)
