"""The interface of a runtime whose items execute in this process."""

from typing import Protocol

from gateway.core.owner import Owner
from gateway.flows.host import RunsApi


class ExecutingRuntime(Protocol):
    """A runtime whose items execute in this process, by its component servers."""

    async def start(self, runs: RunsApi) -> None:
        """Execute runs. `runs` is the runs service over this runtime; it serves nested runs."""

    def resume(self) -> None:
        """Go on with unfinished runs in the background, after `start`."""

    def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run of the task `scope`; None is nobody. Raises RunNotFound if it does not execute here."""

    def refuse_cancelled(self, scope: str) -> None:
        """Raise ParentCancelled if the run of the task `scope`, or one that it is inside, is cancelled."""

    def waits_for_runs(self, scope: str) -> None:
        """Note that the component that executes the task `scope` asks for runs, and waits for them from now on."""
