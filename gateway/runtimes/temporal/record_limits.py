"""What of a run goes through the engine with each of its items, so that it has to be short."""

from typing import Final

from gateway.core.errors import InvalidParams
from gateway.flows.run_record import RunRecord

MAX_LENGTH: Final = 128 << 10
"""How many characters it may have. The engine takes 2 MiB altogether."""


def refuse_long_record(record: RunRecord) -> None:
    """Raise InvalidParams if a run comes with more than that."""
    for field, text, what in (
        ("observability", record.observability, "its JSON"),
        ("flow_id", record.flow_name, "the name of the flow"),
    ):
        if text is not None and len(text) > MAX_LENGTH:
            raise InvalidParams.field(field, description=f"{what} has more than {MAX_LENGTH:,} characters")
