"""The command about flows: `put`."""

from gateway.cli.connection import connect
from gateway.cli.documents import DocumentError, read_flow
from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.gateway_flags import Gateway
from gateway.cli.output import object_json
from gateway.cli.parameters import FlowFile
from gateway.core.errors import InvalidParams


def put(
    file: FlowFile,
    /,
    *,
    gateway: Gateway = None,
    form: Form = None,
) -> None:
    """Store a flow and print its id.

    Parameters
    ----------
    file
        The flow, in YAML or JSON; '-' is standard input.
    """
    chosen = form_of(form)
    flow = read_flow(file)
    with connect(gateway) as client:
        try:
            flow_id = client.put_flow(flow)
        except InvalidParams as error:
            raise DocumentError(file, error.message) from None
    print_either(chosen, object_json(flowId=flow_id), flow_id)
