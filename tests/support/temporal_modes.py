"""Every way in which gateways on a Temporal server are put together, as their operators start them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.support.command_line import CommandLine, Serving

DIRECT: Final = "one process"
MODES: Final = (
    DIRECT,
    "native transport",
    "workers",
    "front and worker",
    "two gateways",
    "relay",
    "relay over JSON-RPC",
)


@asynccontextmanager
async def serving_as(mode: str, commands: CommandLine, *flags: str) -> AsyncIterator[Serving]:
    """Gateways put together so, all on the runtime that the flags name. Gives the one that clients call."""
    async with AsyncExitStack() as stack:

        async def serve(*more: str) -> Serving:
            return await stack.enter_async_context(commands.serving(*more))

        match mode:
            case "native transport":
                yield await serve(*flags, "--transport", "native")
            case "workers":
                yield await serve(*flags, "--workers", "2")
            case "front and worker":
                await stack.enter_async_context(_worker(commands, *flags))
                yield await serve(*flags, "--roles", "front")
            case "two gateways":
                await serve(*flags)
                yield await serve(*flags)
            case "relay":
                yield await serve("--runtime", f"grpc://{(await serve(*flags)).grpc}")
            case "relay over JSON-RPC":
                yield await serve("--state", ":memory:", "--runtime", f"jsonrpc+{(await serve(*flags)).http}")
            case _:
                yield await serve(*flags)


@asynccontextmanager
async def _worker(commands: CommandLine, *flags: str) -> AsyncIterator[None]:
    """A gateway that only executes."""
    process = await commands.start("serve", *flags, "--roles", "worker", "--http-address", "127.0.0.1:0", "--json")
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        yield
    finally:
        process.terminate()
        await process.communicate()
