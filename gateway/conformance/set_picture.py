"""What a follower of a set knows, and what breaks the rules of its messages."""

from gateway.conformance.promise import hold, same
from gateway.conformance.reading import state
from runs.v1 import runs_pb2


class Picture:
    """The runs of a set by what its messages tell, and the token by which it goes on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs: dict[str, bytes] = {}
        self._revisions: dict[str, int] = {}
        self.token = b""
        self.restarted = False
        self.results: dict[str, list[int]] = {}

    def take(self, message: runs_pb2.WatchRunsResponse) -> str | None:
        """Take a message, and return what it is. Raises PromiseBroken if it tells what is known already."""
        same(message.set, self.name, "the set that a message names")
        kind = message.WhichOneof("event")
        if kind == "caught_up":
            same(message.caught_up.set, self.name, "the set that `caught_up` names")
            self._goes_on(message.caught_up.resume_token, restarted=message.caught_up.restarted)
        elif kind == "update":
            self._goes_on(message.update.resume_token, restarted=message.update.restarted)
            self._take_run(message)
        return kind

    def _goes_on(self, token: bytes, *, restarted: bool) -> None:
        self.restarted = restarted
        if restarted:
            self.runs.clear()
            self._revisions.clear()
        # Of several messages with the results of one run, the last one alone has the token.
        self.token = token or self.token

    def _take_run(self, message: runs_pb2.WatchRunsResponse) -> None:
        run_id, run = message.run_id, message.update.run
        if message.set_event == runs_pb2.SET_EVENT_LEFT:
            self.runs.pop(run_id, None)
            self._revisions.pop(run_id, None)
            return
        hold(message.set_event in {runs_pb2.SET_EVENT_ADDED, runs_pb2.SET_EVENT_CHANGED}, "an update without an event")
        same(run.run_id, run_id, "the run of a status")
        self.results.setdefault(run_id, []).extend(result.item_index for result in run.results)
        if message.update.resume_token:
            # A revision may grow by what a status does not show. There is none of a run before its first token: the
            # results of a run may take several messages, of which the last one alone has it.
            known = self._revisions.get(run_id)
            is_news = known is None or self.runs.get(run_id) != state(run) or message.update.revision > known
            hold(is_news, f"the state of the run {run_id} is told twice")
            self._revisions[run_id] = message.update.revision
        self.runs[run_id] = state(run)
