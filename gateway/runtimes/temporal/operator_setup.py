"""Prepares a namespace once, as an operator asks for it."""

from temporalio.client import Client

from gateway.core.errors import GatewayError, Unavailable
from gateway.core.upstream_credentials import UpstreamCredentials
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine_errors import EngineAbsent, EngineFailure
from gateway.runtimes.temporal.setup import SetupDone, SetupRefused, set_up


class SetupFailed(Exception):
    """The namespace cannot be prepared. The message is one line for operators; `away` says that it may help to wait."""

    def __init__(self, message: str, *, away: bool = False) -> None:
        super().__init__(message)
        self.away = away


async def set_up_once(address: TemporalAddress, credentials: UpstreamCredentials, retention: float) -> SetupDone:
    """Make what a namespace lacks, and wait until it can be used. Raises SetupFailed if that is not possible."""
    done: list[SetupDone] = []

    async def prepare(client: Client) -> None:
        done.append(await set_up(client, address, retention))

    connection = TemporalConnection(address, credentials, prepare=prepare)
    try:
        await connection.look()
    except SetupRefused as error:
        raise SetupFailed(f"{error.problem}, and the engine does not let these credentials make it") from None
    except EngineFailure as error:
        raise SetupFailed(error.what, away=isinstance(error, EngineAbsent)) from None
    except GatewayError as error:
        raise SetupFailed(error.message, away=isinstance(error, Unavailable)) from None
    finally:
        await connection.close()
    return done[0]
