"""The tables of docs/errors.md: every reason, and every code of items.

`python -m tests.support.errors_table` writes them.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import gateway
from gateway.components import error as component_error
from gateway.core.errors import GatewayError, GoAway, Overloaded, QuotaExceeded, Unavailable
from gateway.flows import task
from gateway.fronts.http.responses import PathNotFound
from gateway.fronts.web.connect_errors import http_status
from gateway.fronts.web.failure import code_of
from tests.support.tables import markdown_table, write_table

DOCUMENT: Final = Path(__file__).parents[2] / "docs/errors.md"
TARGET: Final = "errors-table"

_LATER: Final = {
    "IDEMPOTENCY_KEY_REUSED": "no: take another key",
    "INTERNAL": "no: report it, with the id in the message",
    "REQUEST_STALLED": "no: send the request as a whole",
    "REQUEST_TIMEOUT": "no: send the request as a whole",
    "RUN_NOT_ENDED": "when the run has ended, or with `cancel`",
    "TOO_MANY_DESCENDANTS": "when runs inside the run have ended",
    "UNAUTHENTICATED": "with another token",
}
"""What a client may do about errors that do not pass by themselves."""

_CODES: Final = {
    "COMPONENT_NOT_FOUND": "The server of the prefix has no such component.",
    "TIMED_OUT": "The component has not answered within `execution_timeouts`.",
    "NOT_STARTED": "A component server does not start, or those of a run inside are not there yet.",
    "CONNECTION_LOST": "The component server cannot be reached, or was lost before it answered.",
    "PROTOCOL_BROKEN": "What the component server answers is no answer of the protocol.",
}
"""What the codes mean that the gateway finds out about component servers."""


def kinds() -> list[type[GatewayError]]:
    """All errors that clients are told, but for those that look like another one to them."""
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, type[GatewayError]] = {}
    for kind in _below(GatewayError):
        if kind.__module__.startswith("gateway."):  # and not of a test
            found.setdefault(kind.reason, kind)
    return sorted(found.values(), key=lambda kind: kind.reason)


def _below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    """The kinds of errors, the general ones before their special cases."""
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def retry(kind: type[GatewayError]) -> str:
    """Whether a client should try again: as the Python clients do."""
    if issubclass(kind, GoAway):
        return "yes, at once: with the resume token"
    if issubclass(kind, QuotaExceeded):
        return "yes, after the time in RetryInfo"
    if issubclass(kind, Unavailable):
        return "yes, after a pause; a submit with its key"
    if issubclass(kind, Overloaded):
        return "yes, after a pause: nothing was executed"
    return _LATER.get(kind.reason, "no")


def reasons_table() -> str:
    """All reasons, in Markdown."""
    rows = [
        (
            f"`{kind.reason}`",
            *_by_code(kind),
            f"{kind.code}",
            f"{kind.http_status}",
            _meaning(kind),
            retry(kind),
        )
        for kind in kinds()
    ]
    return markdown_table(("reason", "gRPC", "Connect", "JSON-RPC", "HTTP", "meaning", "try again"), rows)


def _by_code(kind: type[GatewayError]) -> tuple[str, str]:
    """The code of gRPC, and the status of HTTP that Connect has for it."""
    if kind is PathNotFound:
        return "", ""  # Other paths than those of methods are served by no protocol that has codes.
    code = code_of(kind)
    return ("", f"{kind.http_status}") if code is None else (code.name, f"{http_status(code)}")


def _meaning(kind: type[GatewayError]) -> str:
    """The first sentences of the docstring, which are about the error and not about the class."""
    paragraph = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    text = re.sub(r"\s+", " ", paragraph).partition(";")[0] if "; `" in paragraph else re.sub(r"\s+", " ", paragraph)
    text = re.split(r"(?<=\.) (?=It does not say|[`A-Z]\w+`)", text)[0]
    return text.rstrip(".").replace("|", "\\|")


def codes_table() -> str:
    """The codes of items that the gateway itself makes, in Markdown."""
    rows = {code.value: _CODES[code.name] for code in component_error.Code} | _documented(Path(task.__file__))
    return markdown_table(
        ("code", "meaning", "the step is tried again"),
        [
            (
                str(code),
                meaning.rstrip("."),
                _tried_again(code),
            )
            for code, meaning in sorted(rows.items(), reverse=True)
        ],
    )


def _tried_again(code: int) -> str:
    """What has a step tried again that failed with a code."""
    if code == component_error.Code.PROTOCOL_BROKEN:
        passing = "`transport_retries` if [another answer may come](guarantees.md#component-servers)"
        return f"{passing}, then `onError`"
    return "`transport_retries`, then `onError`" if code in component_error.TRANSPORT_CODES else "`onError`"


def _documented(file: Path) -> dict[int, str]:
    """The numbers of a module that have a docstring, with it."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    found = {}
    for statement, text in pairwise(body):
        match statement, text:
            case ast.Assign(value=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(number)))), ast.Expr(
                value=ast.Constant(value=str(meaning))
            ):
                found[-number] = meaning
    return found


def tables() -> str:
    """Both, with the headline between them."""
    return f"{reasons_table()}\n## Codes of items\n\n{_ITEMS}\n\n{codes_table()}"


_ITEMS: Final = """\
An item that fails has an error of its own, with a code, a message and `data`. Codes of components are passed on as they
are; these are made by the gateway. Over an engine, [its codes](engines.md#errors) are translated."""


def main() -> None:
    """Write the tables into the document."""
    write_table(DOCUMENT, TARGET, tables())


if __name__ == "__main__":
    main()
