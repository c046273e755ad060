"""A run of the scripted runtime: its items change when a test says so."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway.core.items import Item, StepStatus
from gateway.core.model import (
    ItemResult,
    ItemStatistics,
    Nanoseconds,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.runtime import Snapshot, text_size

START: Final = 1_736_937_000_000_000_000
SECOND: Final = 1_000_000_000


@dataclass
class ScriptedRun:
    """`number` counts the runs that were submitted before. `steps` are told of an item, by its index."""

    run_id: str
    params: SubmitParams
    number: int = 0
    parent: "ScriptedRun | None" = None
    states: list[RunState] = field(default_factory=list)
    completed: list[ItemResult] = field(default_factory=list)
    started: dict[int, Nanoseconds] = field(default_factory=dict)
    steps: dict[int, tuple[StepStatus, ...]] = field(default_factory=dict)
    completed_at: Nanoseconds | None = None
    cancelled: bool = False
    cancel_reason: str | None = None
    expires_at: Nanoseconds | None = None
    revision: int = 1

    @property
    def root(self) -> "ScriptedRun":
        """The outermost run that it is inside, or itself."""
        return self if self.parent is None else self.parent.root

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        return self.state().terminal

    def snapshot(self) -> Snapshot:
        return Snapshot(self.status(), self.revision, completions=len(self.completed), prefix=self._prefix())

    def status(self) -> RunStatus:
        parent = self.parent
        count = partial(list.count, self.states)
        return RunStatus(
            run_id=self.run_id,
            flow_id=self.params.flow_id,
            flow_name="scripted",
            flow_label=self.params.flow_label,
            status=self.state(),
            items=ItemStatistics(
                total=len(self.states),
                pending=count(RunState.PENDING),
                running=count(RunState.RUNNING),
                success=count(RunState.SUCCESS),
                failed=count(RunState.FAILED),
                cancelled=count(RunState.CANCELLED),
            ),
            created_at=START + self.number * SECOND,
            completed_at=self.completed_at,
            labels=self.params.labels,
            parent_run_id=None if parent is None else parent.run_id,
            root_run_id=None if parent is None else parent.root.run_id,
            depth=self.depth(),
            cancel_reason=self.cancel_reason,
            started_at=min(self.started.values(), default=None),
            expires_at=self.expires_at,
            namespace=self.params.namespace,
        )

    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth() + 1

    def state(self) -> RunState:
        if not all(state.terminal for state in self.states):
            return RunState.PENDING if set(self.states) == {RunState.PENDING} else RunState.RUNNING
        if self.cancelled:
            return RunState.CANCELLED
        for state in (RunState.FAILED, RunState.CANCELLED):
            if state in self.states:
                return state
        return RunState.SUCCESS

    def start(self, index: int, now: Nanoseconds) -> None:
        self.states[index] = RunState.RUNNING
        self.started[index] = now
        self.revision += 1

    def finish(self, index: int, result: ItemResult) -> None:
        assert not self.states[index].terminal
        self.states[index] = result.status
        self.revision += 1
        self.completed.append(result)
        if self.terminal:
            self.completed_at = result.completed_at

    def cancel(self, reason: str | None, now: Nanoseconds) -> None:
        """What has results keeps them; a run that has ended stays as it is."""
        if self.terminal:
            return
        self.states = [state if state.terminal else RunState.CANCELLED for state in self.states]
        self.cancelled, self.cancel_reason = True, reason
        self.completed_at = now
        self.revision += 1

    def item(self, index: int, *, with_input: bool) -> Item:
        result = next((result for result in self.completed if result.item_index == index), None)
        return Item(
            index,
            self.states[index],
            input=self.params.inputs[index] if with_input else None,
            result=result,
            started_at=self.started.get(index),
            completed_at=result.completed_at if result else None,
            attempts=int(index in self.started),
            steps=self.steps.get(index, ()),
        )

    def _prefix(self) -> int:
        finished = {result.item_index for result in self.completed}
        return next((index for index in range(len(self.states)) if index not in finished), len(self.states))


def item_size(item: Item) -> int:
    """How much text an item holds, in characters."""
    return len(item.input or "") + (text_size(item.result) if item.result else 0)
