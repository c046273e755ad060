"""Components that do not exist: the words for one, and the refusal of flows that name some."""

from gateway.components import Components
from gateway.concurrency.time_slice import TimeSlice
from gateway.core.errors import MAX_VIOLATIONS, MORE_VIOLATIONS, InvalidFlow, Violation, render_path, shortened
from gateway.flows.builtins import BUILTINS
from gateway.flows.flow import Flow


def unknown_component(component: str) -> str:
    """Say that no server offers a component, and how a server is added."""
    prefix = component[: component.find("/", 1)] if "/" in component[1:] else "/"
    flag = f"--component {shortened(prefix)}="
    return f"no component '{shortened(component)}': a server of such is added with {flag}URL, or {flag}COMMAND"


async def refuse_unknown_components(flow: Flow, components: Components, *, patient: bool) -> None:
    """Raise InvalidFlow if a flow names components that do not exist. `patient` waits for servers that start."""
    unknown = []
    time_slice = TimeSlice()
    for component, index in flow.components.items():
        if component not in BUILTINS and not await components.resolve(component, patient=patient):
            what = f"{render_path(('steps', index, 'component'))}: {unknown_component(component)}"
            unknown.append(Violation(("flow_id",), what))
            if len(unknown) > MAX_VIOLATIONS:
                raise InvalidFlow(unknown, rest=MORE_VIOLATIONS)
        await time_slice.checkpoint()
    if unknown:
        raise InvalidFlow(unknown)
