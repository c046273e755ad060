"""The component servers that a runtime of this process calls."""

from contextlib import AsyncExitStack

from gateway.components import Components
from gateway.components import Limits as ComponentLimits
from gateway.concurrency.memory_account import MemoryAccount
from gateway.server.settings import ServeSettings, SettingsError
from gateway.server.tls_checks import upstream_credentials


def open_components(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Components:
    """The component servers of this process, which `stack` closes. Raises SettingsError if one cannot be started."""
    try:
        components = Components(
            settings.components,
            environment=settings.component_env,
            limits=component_limits(settings),
            share=account.share("component_requests"),
            tls=upstream_credentials(settings).tls,
        )
    except ValueError as error:
        raise SettingsError(f"{error} (--component)") from None
    stack.push_async_callback(components.close)
    return components


def component_limits(settings: ServeSettings) -> ComponentLimits:
    """How the calls of components are limited."""
    return ComponentLimits(transport_retries=settings.transport_retries, execution_timeouts=settings.execution_timeouts)
