"""Parameters that several commands have."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from gateway.core.durations import duration_seconds
from gateway.core.sizes import parse_size

_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,20}")


def unless_empty(_: Any, value: str, **__: Any) -> list[str]:
    """Return the value of a variable in the environment; none if it is empty, as if it was not set."""
    return [value] if value else []


def whole_number(_: Any, tokens: Sequence[Token]) -> int:
    """Read a number. cyclopts would round one that is not whole. Raises ValueError if it is none."""
    text = tokens[0].value
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"expected a whole number, got {text!r}")
    return int(text)


def no_option(_: Any, file: Path | tuple[Path, ...]) -> None:
    """Raise ValueError if a file is a mistyped option: `-` alone is standard input."""
    for each in file if isinstance(file, tuple) else (file,):
        if str(each).startswith("-") and str(each) != "-":
            raise ValueError(f"there is no option {str(each)!r}; a file of that name is './{each}'")


def duration(_: Any, tokens: Sequence[Token]) -> float:
    """Read a duration, in seconds. Raises ValueError if it is none."""
    return duration_seconds(tokens[0].value)


def byte_size(_: Any, tokens: Sequence[Token]) -> int:
    """Read a size, in bytes, as settings have it. Raises ValueError if it is none."""
    size: int = parse_size(tokens[0].value)
    return size


AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON, one value a line.")]
FlowFile = Annotated[Path, Parameter(allow_leading_hyphen=True, validator=no_option)]
RunId = Annotated[str, Parameter(help="The run: the id that 'submit' printed.")]
Timeout = Annotated[
    float | None,
    Parameter(
        converter=duration,
        metavar="DURATION",
        allow_leading_hyphen=True,
        help="Wait so long at most: for the run with --wait, and for an answer of the gateway, which has 5 s in any "
        "case.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    Parameter(
        name="--config",
        env_var="RUNS_GATEWAY_CONFIG",
        env_var_split=unless_empty,
        help="A file of settings: .toml, .yaml or .yml.",
    ),
]
