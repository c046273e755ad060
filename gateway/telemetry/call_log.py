"""The line of a call in the log, when it has ended. A flood of calls does not become a flood of lines."""

import asyncio
import json
import logging
import re
from contextvars import Context
from typing import Any, Final

MOST: Final = 50
"""How many lines a process writes in a second at most, of calls that have not failed by its own fault."""

MOST_CHARACTERS: Final = 128
"""How much of what a caller may have chosen goes into a span or a line."""

_ALWAYS: Final = frozenset({"INTERNAL", "UNKNOWN"})
"""The calls that have a line in any case, by their status."""

_PLAIN: Final = re.compile(r"[\w.:/@%*+~|\[\]-]*", re.ASCII)

_log: Final = logging.getLogger("gateway.calls")


class CallLog:
    """Decides which calls have a line, and tells each second how many have had none."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._began = 0.0
        self._written = 0
        self._left_out = 0

    def takes(self, now: float, status: str) -> bool:
        """Whether a call that has ended at `now`, a value of `time.perf_counter()`, has a line."""
        if now - self._began >= 1.0:
            self.tell()
            self._began, self._written = now, 0
        if self._written < self._most or status in _ALWAYS:
            self._written += 1
            return _log.isEnabledFor(logging.INFO)
        self._left_out += 1
        if self._left_out == 1:
            # A flood that ends tells as well how large it was.
            asyncio.get_running_loop().call_later(1.0, self.tell)
        return False

    def tell(self) -> None:
        """Write how many calls have had no line since it was told last, if there are any."""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            # In no trace: the call that has ended just now is another one.
            Context().run(_log.info, "%d more calls have ended", left_out, extra={"calls": left_out})

    def write(self, fields: dict[str, Any]) -> None:
        """Write the line of a call. Each field is an attribute of the record."""
        parts = [f"{fields['method']}: {fields['code']}, {fields['seconds'] * 1e3:.3g} ms"]
        parts += [f"{word} {_shown(value)}" for word, name in _WORDS if (value := fields.get(name))]
        if "bytes_in" in fields:
            parts.append(f"{fields['bytes_in']} bytes in, {fields['bytes_out']} out")
        _log.info("%s", ", ".join(parts), extra=fields)


CALL_LOG: Final = CallLog()
"""That of this process."""

_WORDS: Final = (("by", "identity"), ("from", "peer"))


def _shown(value: str) -> str:
    """A value as it stands in a line. One that could be taken for more than itself is quoted."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value)
