"""The command about flows: `put`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.connection import connect
from gateway.cli.documents import DocumentError, read_flow
from gateway.cli.gateway_flags import Gateway
from gateway.cli.lines import print_line
from gateway.cli.output import object_json, print_json
from gateway.cli.parameters import AsJson
from gateway.core.errors import InvalidParams


def put(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    gateway: Gateway = None,
    as_json: AsJson = False,
) -> None:
    """Store a flow and print its id.

    Parameters
    ----------
    file
        The flow, in YAML or JSON; '-' is standard input.
    """
    flow = read_flow(file)
    with connect(gateway) as client:
        try:
            flow_id = client.put_flow(flow)
        except InvalidParams as error:
            raise DocumentError(file, error.message) from None
    if as_json:
        print_json(object_json(flowId=flow_id))
    else:
        print_line(flow_id)
