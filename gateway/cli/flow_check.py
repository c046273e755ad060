"""The command `check`: it tells what is wrong with flows, without a gateway, as a gateway would."""

import asyncio
import re
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.documents import DocumentError, FlowDocument, UnreadableError, name_of, read_flow_document
from gateway.cli.errors import ExitCode, UsageError
from gateway.cli.flow_places import Place, places_of
from gateway.cli.forms import Form, OutputForm, form_of, print_value
from gateway.cli.lines import print_error, print_line, printable
from gateway.cli.parameters import FlowFile, byte_size
from gateway.core.errors import InvalidFlow, TooLarge, render_path
from gateway.core.json_text import quote
from gateway.core.model import JsonText
from gateway.flows.checked_flow import flow_id_of
from gateway.flows.flow_cache import DEFAULT_MAX_FLOW_BYTES
from gateway.flows.flow_schema import flow_schema

MaxFlowBytes = Annotated[
    int | None,
    Parameter(
        converter=byte_size,
        validator=Number(gte=1),
        metavar="SIZE",
        allow_leading_hyphen=True,
        help="The largest flow of the gateway that is meant, in bytes or as 4MiB, which is the default.",
    ),
]

_PLACED: Final = re.compile(r"line (\d+), column (\d+): (.*)", re.DOTALL)


class _Fault(NamedTuple):
    """What is wrong with a flow. `place` is None if it concerns the file as a whole."""

    place: Place | None
    field: str
    description: str

    def words(self, file: str) -> str:
        """The line for people, which editors take apart."""
        where = [file, *map(str, self.place or ())]
        return ": ".join([":".join(where), *([self.field] if self.field else []), self.description])

    def json(self) -> JsonText:
        """The value for programs."""
        place = "" if self.place is None else f'"line":{self.place.line},"column":{self.place.column},'
        return f'{{{place}"field":{quote(self.field)},"description":{quote(self.description)}}}'


class _Checked(NamedTuple):
    """A file: the id that its flow would get, or what is wrong with it."""

    file: str
    flow_id: str
    faults: list[_Fault]
    read: bool = True

    @property
    def exit_code(self) -> ExitCode:
        """What a command tells that has checked this file alone."""
        if not self.read:
            return ExitCode.USAGE
        return ExitCode.ERROR if self.faults else ExitCode.OK

    def json(self) -> JsonText:
        """The value for programs."""
        valid, flow_id = "false", ""
        if not self.faults:
            valid, flow_id = "true", f',"flowId":{quote(self.flow_id)}'
        faults = ",".join(fault.json() for fault in self.faults)
        return f'{{"file":{quote(self.file)},"valid":{valid}{flow_id},"faults":[{faults}]}}'

    def words(self) -> list[str]:
        """The lines for people."""
        if not self.read:
            return []
        return [fault.words(self.file) for fault in self.faults] or [f"{self.file}: valid"]


def check(
    *files: FlowFile,
    schema: bool = False,
    max_flow_bytes: MaxFlowBytes = None,
    form: Form = None,
) -> int:
    """Tell what is wrong with flows, as a gateway that stores them would, but without one.

    Each fault is a line FILE:LINE:COLUMN: FIELD: DESCRIPTION, or FILE: DESCRIPTION if it concerns the whole file. The
    exit code is 1 if there are any, and 2 if a file cannot be read; the others are checked all the same.

    Parameters
    ----------
    files
        The flows, in YAML or JSON; '-' is standard input.
    schema
        Print the JSON Schema of flows, for editors and other programs, and check nothing.
    """
    if schema == bool(files) or (schema and (max_flow_bytes is not None or form is not None)):
        raise UsageError("expected one or more flows, or --schema alone")
    if schema:
        print_line(flow_schema())
        return ExitCode.OK
    chosen = form_of(form)
    code = ExitCode.OK
    for file in files:
        checked = _check(file, max_flow_bytes or DEFAULT_MAX_FLOW_BYTES)
        code = max(code, checked.exit_code)
        if not checked.read:
            print_error(f"{checked.file}: {checked.faults[0].description}")
        if chosen is OutputForm.TABLE:
            for line in checked.words():
                print_line(printable(line))
        else:
            print_value(checked.json(), chosen)
    return code


def _check(file: Path, max_bytes: int) -> _Checked:
    name = name_of(file)
    try:
        document = read_flow_document(file)
    except UnreadableError as error:
        return _Checked(name, "", [_Fault(None, "", error.problem)], read=False)
    except DocumentError as error:
        return _Checked(name, "", [_placed(error.problem)])
    try:
        return _Checked(name, asyncio.run(flow_id_of(document.json, max_bytes)), [])
    except TooLarge as error:
        return _Checked(name, "", [_Fault(None, "", error.message.removeprefix("flow: "))])
    except InvalidFlow as error:
        return _Checked(name, "", _faults(document, error))


def _placed(problem: str) -> _Fault:
    """The fault of a file that is neither JSON nor YAML, whose description begins with the place if that is known."""
    match = _PLACED.fullmatch(problem)
    if match is None:
        return _Fault(None, "", problem)
    return _Fault(Place(int(match[1]), int(match[2])), "", match[3])


def _faults(document: FlowDocument, error: InvalidFlow) -> list[_Fault]:
    places = places_of(document, [path for path, _ in error.violations])
    faults = [
        _Fault(place, render_path(path), description)
        for place, (path, description) in sorted(zip(places, error.violations, strict=True), key=itemgetter(0))
    ]
    return [*faults, *([_Fault(None, "", error.rest)] if error.rest else [])]
