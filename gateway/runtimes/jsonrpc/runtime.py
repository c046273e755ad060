"""The JSON-RPC runtime: passes everything on to a server of the runs methods, in the dialect that it speaks.

Another gateway streams its states, and gives results from any position on: revisions, positions and resume tokens are
then those of the upstream. Any other server is polled: fast while a run changes, slower and slower while it does not,
and at once when a `runs/get` that waits for the end of the run is answered.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

from msgspec.structs import replace

from gateway.adapter import blobs_json
from gateway.adapter.params_json import get_params_to_json
from gateway.adapter.remote_errors import refuse_without_namespaces
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidParams,
    MethodNotFound,
    RemoteError,
    Unavailable,
    shutting_down,
)
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import (
    Blob,
    GetParams,
    ItemResult,
    JsonText,
    ResultOrder,
    SubmitParams,
    blob_digest,
    blob_id_of,
)
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.position import Position, ResumePoint, of_page
from gateway.core.runtime import RESULT_PAGE_BYTES, RESULT_PAGE_LENGTH, Page, Snapshot, text_sizes
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.runtimes.jsonrpc.answers import ConnectionLost, Event, NoStream, unreadable
from gateway.runtimes.jsonrpc.control import JsonRpcControl
from gateway.runtimes.jsonrpc.dialect import GET, GET_BLOB, PUT_BLOB, SUBMIT, Dialect
from gateway.runtimes.jsonrpc.namespaces import Namespaces, flow_not_found, header_of
from gateway.runtimes.jsonrpc.reachability import Retries
from gateway.runtimes.jsonrpc.results_cache import Prefixes, ResultsCache
from gateway.runtimes.jsonrpc.snapshots import StreamedState, caught_up, read_state, read_status, snapshot_of, successor
from gateway.runtimes.jsonrpc.upstream import READ_SECONDS, JsonRpcUpstream
from gateway.runtimes.jsonrpc.watched_run import WatchedRun
from gateway.storage.fingerprint import fingerprint
from gateway.storage.idempotency import Keys, global_key
from gateway.telemetry.run_log import of_run

PATIENCE: Final = 10.0
"""Seconds that the upstream may be away: a restart. Watches go on after it, and calls wait for it."""

WRITE_SECONDS: Final = 300.0
"""How long the upstream may take for a submit or a blob: either may be large, and waits for a disk."""

WAIT_SECONDS: Final = 300
"""How long one `runs/get` waits for the end of a run, before another one does."""

FIRST_POLL: Final = 0.05
LAST_POLL: Final = 2.0
"""Seconds between two polls of a run: after it has changed, and after it has not for long. Each poll that tells nothing
new doubles them."""

RESTED_RESULTS: Final = 64
RESTED_TEXT: Final = 64 << 10
"""Up to how many results, and so many characters of them, a stream is read to its end when the page is full: its end
repeats them, but the connection can be used again."""

HEARTBEAT_SECONDS: Final = 20.0
"""How often a stream shows that it lives; one that is quiet for three times as long is given up."""


class JsonRpcRuntime(JsonRpcControl):
    """A server of the runs methods at an `http` or `https` URL, its upstream, as a runtime.

    `keys` holds the idempotency keys of clients, whether or not the upstream honours keys; the caller closes it, after
    the runtime. What is held of parameters while they are compared draws from `account`. Without a `dialect` it is
    found out, again after each outage.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        dialect: Dialect | None = None,
        patience: float = PATIENCE,
        account: MemoryAccount | None = None,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
    ) -> None:
        super().__init__(JsonRpcUpstream(url.removeprefix("jsonrpc+"), patience, dialect, credentials))
        self._keys = keys
        self._namespaces = Namespaces(self._upstream, keys)
        self._fingerprints = (account or MemoryAccount()).share("fingerprints")
        self.readiness = keys.readiness
        self.readiness.upstream_is_away = self._upstream.reachability.is_away
        self._results = ResultsCache(self._fetch)
        self._watched: set[WatchedRun] = set()
        self._draining = False

    async def connect(self, seconds: float) -> bool:
        """Wait for the upstream for so long. False, and a line in the log, if it is away; it may come later."""
        return await self._upstream.reachability.connected(seconds)

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        self._refuse_if_draining()
        text = blobs_json.blob_to_json(blob)
        dialect = await self._upstream.reachability.ready()
        named, answer = header_of(namespace), None
        if self._upstream.has_blob_methods and not dialect.blobs_by_rest:
            try:
                answer = await self._upstream.call(PUT_BLOB, text, seconds=WRITE_SECONDS, namespace=named)
            except MethodNotFound:
                self._upstream.has_blob_methods = False
        if answer is None:
            answer = await self._upstream.put_blob(text, WRITE_SECONDS, named)
        blob_id = _blob_id(answer)
        await self._namespaces.put(blob_id, namespace)
        return blob_id

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        await self._namespaces.refuse_hidden(blob_id, namespace)
        dialect = await self._upstream.reachability.ready()
        if self._upstream.has_blob_methods and not dialect.blobs_by_rest:
            try:
                params = blobs_json.blob_id_to_json(blob_id)
                return _blob(await self._upstream.call(GET_BLOB, params, seconds=WRITE_SECONDS, namespace=namespace))
            except MethodNotFound:
                self._upstream.has_blob_methods = False
        return _blob(await self._upstream.get_blob(blob_digest(blob_id) or blob_id, WRITE_SECONDS, namespace))

    async def owner_of_run(self, run_id: str) -> Owner | None:
        return await self._namespaces.owner(run_id) or await super().owner_of_run(run_id)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """A submit that was cut off is repeated only if it has a key, and the upstream honours keys."""
        self._refuse_if_draining()
        if params.labels or params.execution_timeout is not None:
            await self._refuse_what_is_lost(params)
        if params.idempotency_key is None:
            return await self._submit(params, None)
        key = global_key(scope, params.idempotency_key, params.namespace)
        accepted: Snapshot | None = None

        async def submit() -> str:
            nonlocal accepted
            accepted = await self._submit(params, key)
            return accepted.status.run_id

        digest = await fingerprint(params, share=self._fingerprints)
        run_id, _ = await self._keys.once(scope, params.idempotency_key, digest, submit, namespace=params.namespace)
        return await self.get(run_id) if accepted is None else accepted

    async def get(self, run_id: str) -> Snapshot:
        if self._are_streams(await self._upstream.reachability.ready()):
            try:
                return (await self._streamed_state(run_id)).snapshot
            except NoStream:
                self._upstream.streams = False
        return await self._polled_state(run_id)

    async def get_since(self, run_id: str, revision: int) -> Snapshot | None:
        if self._are_streams(await self._upstream.reachability.ready()):
            token = ResumePoint(Position(ResultOrder.BY_INDEX), revision).token(run_id)
            try:
                state = await self._streamed_state(run_id, token)
                return None if state.restarted else state.snapshot
            except NoStream:
                self._upstream.streams = False
        return caught_up(await self._polled_state(run_id), revision)

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Goes on when the upstream comes back in time. Raises Unavailable if it does not."""
        self._refuse_if_draining()
        watched = WatchedRun()
        task = create_shared_task(self._follow(run_id, watched))
        self._watched.add(watched)
        try:
            terminal = False
            while not terminal:
                snapshot = await watched.next()
                terminal = snapshot.terminal
                yield snapshot
        finally:
            self._watched.discard(watched)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        if page.start >= page.stop or page.first >= page.completions:
            return []
        if self._are_streams(await self._upstream.reachability.ready()):
            try:
                return await self._streamed_page(run_id, page)
            except NoStream:
                self._upstream.streams = False
        return (await self._results.covering(run_id, page.completions)).page(page)

    async def drain(self) -> None:
        self._draining = True
        self._upstream.reachability.stop_waiting()
        for watched in self._watched:
            watched.fail(shutting_down())

    async def close(self) -> None:
        await self.drain()
        await self._results.close()
        await self._upstream.close()

    def _are_streams(self, dialect: Dialect) -> bool:
        """Whether the upstream streams states, and gives results from any position on."""
        return dialect is Dialect.SUPERSET and self._upstream.streams

    async def _submit(self, params: SubmitParams, key: str | None) -> Snapshot:
        await self._namespaces.refuse_hidden_flow(params)
        dialect = await self._upstream.reachability.ready()
        repeatable = key is not None and dialect.honours_keys
        text = dialect.submit_params(params, key)
        namespace = None if params.owner is None else params.owner.namespace
        answering = self._upstream.call(SUBMIT, text, repeatable=repeatable, seconds=WRITE_SECONDS, namespace=namespace)
        try:
            status = read_status(await answering)
        except FlowNotFound as error:
            raise error if params.owner is None else flow_not_found(params) from None
        snapshot = await self._namespaces.submitted(snapshot_of(status, 0), params)
        refuse_without_namespaces(snapshot.status, namespace)
        # The answer of another gateway names no revision: the lowest, so that whatever is read of the run is newer.
        return replace(snapshot, revision=0) if self._are_streams(dialect) else snapshot

    async def _follow(self, run_id: str, watched: WatchedRun) -> None:
        """Show the states of a run until it has finished."""
        try:
            streams = self._are_streams(await self._upstream.reachability.ready())
            # Beyond the bound of streams, runs are polled.
            if streams and self._upstream.has_room:
                try:
                    return await self._stream(run_id, watched)
                except NoStream:
                    self._upstream.streams = False
            await self._poll(run_id, watched)
        except Exception as failure:
            watched.fail(error_to_tell(failure, partial(of_run, run_id)))

    async def _stream(self, run_id: str, watched: WatchedRun) -> None:
        params = get_params_to_json(GetParams(run_id=run_id, wait=True, heartbeat_interval=HEARTBEAT_SECONDS))
        retries = Retries(self._upstream.reachability)
        while True:
            await self._upstream.reachability.ready()
            try:
                async with aclosing(self._upstream.events(params, quiet=3 * HEARTBEAT_SECONDS)) as events:
                    async for event in events:
                        snapshot = read_state(event, run_id).snapshot
                        watched.show(snapshot)
                        if snapshot.terminal:
                            return
                failure: Unavailable = ConnectionLost("has ended a stream before the run")
            except Unavailable as unavailable:
                failure = unavailable
            self._upstream.reachability.recheck()
            await retries.pause(failure)

    async def _poll(self, run_id: str, watched: WatchedRun) -> None:
        ended = asyncio.Event()
        waiting = asyncio.create_task(self._await_end(run_id, ended))
        prefixes = Prefixes(self._results)
        polls = Backoff(FIRST_POLL, LAST_POLL)
        try:
            while True:
                ended.clear()
                snapshot = await self.get(run_id)
                if not self._are_streams(await self._upstream.reachability.ready()):
                    snapshot = await prefixes.completed(snapshot)
                changed = watched.show(successor(watched.latest, snapshot))
                if snapshot.terminal:
                    return
                if changed:
                    polls.reset()
                await _within(polls.next(), ended)
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _await_end(self, run_id: str, ended: asyncio.Event) -> None:
        """Have the run polled when it may have ended, at most every LAST_POLL seconds if the server does not wait."""
        while True:
            try:
                params = (await self._upstream.reachability.ready()).wait_params(run_id, WAIT_SECONDS)
            except GatewayError:
                return  # The polls fail with the same.
            await self._upstream.wait(GET, params, WAIT_SECONDS + READ_SECONDS)
            ended.set()
            await asyncio.sleep(LAST_POLL)

    async def _polled_state(self, run_id: str) -> Snapshot:
        dialect = await self._upstream.reachability.ready()
        status = read_status(await self._upstream.call(GET, dialect.get_params(run_id)), run_id)
        cached = self._results.kept(run_id)
        return await self._namespaces.told(snapshot_of(status, 0 if cached is None else cached.prefix))

    async def _streamed_state(self, run_id: str, resume_token: bytes = b"") -> StreamedState:
        """Return the state from a stream that ends at once: it has a revision, which runs/get alone does not give."""
        params = get_params_to_json(GetParams(run_id=run_id, wait=True, timeout=0.0, resume_token=resume_token))

        async def attempt() -> StreamedState:
            state = None
            async with aclosing(self._short_stream(params)) as events:
                async for event in events:  # To the end, which is near: the connection is used again.
                    state = read_state(event, run_id)
            if state is None:
                raise RemoteError(RemoteError.code, "the upstream has sent no state")
            return state

        return await self._upstream.reachability.retried(attempt)

    async def _streamed_page(self, run_id: str, page: Page) -> list[ItemResult]:
        params = get_params_to_json(
            GetParams(
                run_id=run_id,
                wait=True,
                timeout=0.0,
                include_results=True,
                result_order=page.order,
                resume_token=ResumePoint(Position.before(page)).token(run_id),
            )
        )

        async def attempt() -> list[ItemResult]:
            async with aclosing(self._short_stream(params)) as events:
                return await _collected(events, run_id, page)

        return await self._upstream.reachability.retried(attempt)

    def _short_stream(self, params: JsonText) -> AsyncGenerator[Event, None]:
        return self._upstream.events(params, quiet=READ_SECONDS, seconds=READ_SECONDS)

    async def _fetch(self, run_id: str) -> JsonText:
        dialect = await self._upstream.reachability.ready()
        return await self._upstream.call(GET, dialect.results_params(run_id), seconds=WRITE_SECONDS)

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()


async def _collected(events: AsyncGenerator[Event, None], run_id: str, page: Page) -> list[ItemResult]:
    """The results of a page from a stream that begins before it."""
    results: list[ItemResult] = []
    received = size = 0
    full = False
    async for event in events:
        if full:
            continue
        state = read_state(event, run_id)
        if state.restarted:
            raise RemoteError(RemoteError.code, "the upstream does not understand the position of this gateway")
        sent = state.status.results or []
        found, more = of_page(page, sent, ResumePoint.from_token(state.token, run_id, page.order), received)
        received += len(sent)
        results += found
        size += text_sizes(found)
        full = not more or size >= RESULT_PAGE_BYTES or len(results) >= RESULT_PAGE_LENGTH
        if full and (received < page.completions or received > RESTED_RESULTS or size > RESTED_TEXT):
            break
    return results[:RESULT_PAGE_LENGTH]


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _blob_id(answer: JsonText) -> str:
    """The id in the answer to a request that stores a blob."""
    try:
        digest = blob_digest(blobs_json.blob_id_from_json(answer))
        if digest is None:
            raise InvalidParams.field("blob_id", description="is not a blob id")
    except InvalidParams as error:
        raise unreadable(error) from None
    return blob_id_of(digest)


def _blob(answer: JsonText) -> Blob:
    try:
        return blobs_json.blob_from_json(answer)
    except InvalidParams as error:
        raise unreadable(error) from None
