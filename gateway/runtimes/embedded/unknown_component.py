"""The words for a component that does not exist."""

from gateway.core.errors import shortened


def unknown_component(component: str) -> str:
    """Say that no server offers a component, and how a server is added."""
    prefix = component[: component.find("/", 1)] if "/" in component[1:] else "/"
    flag = f"--component {shortened(prefix)}="
    return f"no component '{shortened(component)}': a server of such is added with {flag}URL, or {flag}COMMAND"
