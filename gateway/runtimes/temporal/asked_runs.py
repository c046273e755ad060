"""The runs of a set that have not ended: each is asked in its turn how far it is, those first that are new."""

import asyncio
import time
from collections import OrderedDict
from itertools import islice
from typing import Final

from gateway.core.errors import Overloaded, RunNotFound, Unavailable
from gateway.core.runtime import Snapshot
from gateway.runtimes.temporal.question_budget import QuestionBudget
from gateway.runtimes.temporal.run_reader import RunReader

_EVER: Final = 1e-9

PATIENCE_SECONDS: Final = 2.0
"""How long answers are waited for. Who has not answered by then is asked again in its turn."""


class AskedRuns:
    """See the module."""

    def __init__(self, reader: RunReader, budget: QuestionBudget) -> None:
        self._reader = reader
        self._budget = budget
        self._asked: OrderedDict[str, float] = OrderedDict()
        """When each was asked last; 0 if it was not. The next one is the first."""

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, run_id: str) -> None:
        """Ask this run next, unless it has its turn already."""
        if run_id not in self._asked:
            self._asked[run_id] = 0.0
            self._asked.move_to_end(run_id, last=False)

    def remove(self, run_id: str) -> None:
        """Ask this run no more."""
        self._asked.pop(run_id, None)

    @property
    def were_asked_once(self) -> bool:
        """Whether all have been asked, or would not answer."""
        return self.were_asked_since(_EVER)

    def were_asked_since(self, moment: float) -> bool:
        """Whether all have been asked since a time of `time.monotonic()`, or would not answer."""
        return self._budget.is_silent or not self._asked or next(iter(self._asked.values())) >= moment

    async def ask(self) -> list[tuple[str, Snapshot | None]]:
        """Ask as many as may be asked now; return what was answered: None if there is no such run."""
        some = list(islice(self._asked, self._budget.take(len(self._asked))))
        if not some:
            return []
        now = time.monotonic()
        tasks = [asyncio.create_task(self._answer(run_id)) for run_id in some]
        try:
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        answers: list[tuple[str, Snapshot | None]] = []
        for run_id, answer in zip(some, found, strict=True):
            self._asked[run_id] = now
            self._asked.move_to_end(run_id)
            if isinstance(answer, Snapshot | None):
                answers.append((run_id, answer))
            elif not isinstance(answer, Unavailable | Overloaded | asyncio.CancelledError):
                raise answer
        if not answers:
            self._budget.unanswered()
        return answers

    async def _answer(self, run_id: str) -> Snapshot | None:
        async with self._budget.places:
            try:
                return await self._reader.get(run_id)
            except RunNotFound:
                return None
