"""The execution of items and steps: its identity, its failures, and its host."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote

from gateway.core.errors import GatewayError
from gateway.core.json_text import quote as quote_json
from gateway.core.model import Blob, ItemError, JsonText, RunStatus
from gateway.flows.files import LoadedFile
from gateway.flows.item_work import ItemWork

if TYPE_CHECKING:
    from gateway.flows.flow import Flow

COMPONENT_FAILED = -32100
"""A component ran and failed."""

BAD_INPUT = -32103
"""A component refuses its input."""

UNDEFINED = -32200
"""An expression refers to something that does not exist."""

LIMIT_REACHED = -32104
"""A step has been tried, or has iterated, as often as the gateway does it."""

UNUSABLE_VALUE = -32101
"""A value is too large or nested too deeply to go on with."""


class ItemFailure(Exception):
    """An item, or one of its steps, has failed; `error` is for the client.

    `transport`: the way to the component of the step has failed, and another attempt may find it in order.
    """

    def __init__(self, error: ItemError, *, transport: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.transport = transport

    @classmethod
    def of(cls, code: int, message: str) -> "ItemFailure":
        """A failure with this code and message."""
        return cls(ItemError(code=code, message=message))

    @classmethod
    def caused_by(cls, error: GatewayError) -> "ItemFailure":
        """The failure of a step whose request the gateway has refused."""
        return cls(ItemError(code=error.jsonrpc_code, message=error.message, data=error.data))


class Task(NamedTuple):
    """The execution of an item, or of one of its steps.

    `path` is empty for the item itself and `(step,)` for a step. A flow that a step runs in place adds the number of
    the iteration, counted from 0, and then its own steps: `(step, 0, inner step)`. `work` is what the item takes of
    what all items share.
    """

    run_id: str
    flow_id: str
    item_index: int
    work: ItemWork
    path: tuple[str | int, ...] = ()

    @property
    def step_id(self) -> str | None:
        """The innermost step that executes; None for the item itself."""
        step = self.path[-1] if self.path else None
        return step if isinstance(step, str) else None

    @property
    def loops(self) -> int:
        """How many flows that run in place are around it."""
        return len(self.path) // 2

    @property
    def scope(self) -> str:
        """A name that no other task has; the same for each attempt, and after a restart."""
        return "/".join((self.run_id, str(self.item_index), *map(_escaped, self.path)))

    @property
    def location(self) -> str:
        """Where the task is inside the item, for messages."""
        return f"step {'/'.join(map(str, self.path))}" if self.path else "the item"

    def limit_reached(self, message: str) -> ItemError:
        """The error of a task that has reached a limit of the gateway; its data has the path of the task."""
        path = ",".join(quote_json(part) if isinstance(part, str) else str(part) for part in self.path)
        return ItemError(code=LIMIT_REACHED, message=f"{self.location} {message}", data=f'{{"path":[{path}]}}')

    def within(self, *path: str | int) -> "Task":
        """The task at `path` inside this one."""
        return Task(self.run_id, self.flow_id, self.item_index, self.work, (*self.path, *path))


def _escaped(part: str | int) -> str:
    """A part of a path without slashes."""
    text = str(part)
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


class Host(Protocol):
    """Serves the steps of a run while they execute.

    Every method may raise ItemFailure, or an error of `gateway.core.errors`, which fails the step with the same code
    and message. Only Unavailable passes through: a step that stops together with the gateway has not failed.

    `transport_retries`: how often a step is tried again whose component server was lost, or could not be reached.
    """

    transport_retries: int

    def refuse_deeper(self, task: Task) -> None:
        """Raise NestedTooDeeply if a task may not start a run, or run a flow in place."""

    async def execute(self, component: str, text: JsonText, attempt: int, task: Task, /) -> JsonText:
        """Execute a component, other than a built-in, on the input `text`. `attempt` counts from 1."""

    async def compile(self, flow: JsonText, field: str) -> "Flow":
        """Compile a flow. Raises InvalidFlow if it is not valid; `field` has it, for messages."""

    async def put_blob(self, blob: Blob) -> str:
        """Store a blob and return its id."""

    async def get_blob(self, blob_id: str) -> Blob:
        """Return a blob; its id may come in either spelling."""

    async def load_file(self, path: str, given_format: str | None) -> LoadedFile:
        """Load a file that flows may load. Raises InvalidParams, at `path`, if there is none."""

    async def run_flow(
        self, flow_id: str, inputs: Sequence[JsonText], max_concurrency: int | None, task: Task, key: str
    ) -> RunStatus:
        """Run a stored flow, wait until it has finished, and return its status with the results by index.

        `key` is an idempotency key within the scope of the task.
        """
