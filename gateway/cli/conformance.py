"""The command `conformance`: whether a server keeps what the contract promises to who follows runs."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.conformance_report import Report, opened_report
from gateway.cli.connection import security_of
from gateway.cli.ending_signals import EndingSignals
from gateway.cli.errors import CommandError, ExitCode, UsageError
from gateway.cli.gateway_flags import Gateway, GatewayFlags
from gateway.cli.lines import print_error, print_line
from gateway.cli.parameters import duration
from gateway.core.errors import shortened

if TYPE_CHECKING:
    from gateway.client.security import Security
    from gateway.conformance.conduct import TriedPromise
    from gateway.conformance.promise import Promise
    from gateway.conformance.scene import Scene

_LAST_SECONDS: Final = 5.0
"""How long the kit takes at most to delete its runs when a signal ends it."""


@dataclass(frozen=True, kw_only=True)
class KitFlags:
    """What is tried, and what the kit may use."""

    only: Annotated[
        tuple[str, ...],
        Parameter(
            name="--only",
            metavar="NAME",
            show_default=False,
            help="Try this promise alone; with a * those that match. Repeatable.",
        ),
    ] = ()
    other: Annotated[
        str | None,
        Parameter(
            name="--other", metavar="ADDRESS", help="Another server of the same state, for tokens of the target."
        ),
    ] = None
    restart: Annotated[
        str | None,
        Parameter(
            name="--restart",
            metavar="COMMAND",
            help="A command for the shell that restarts the target, and ends when it serves again.",
        ),
    ] = None
    slow_component: Annotated[
        str | None,
        Parameter(
            name="--slow-component",
            metavar="PATH",
            help="A component of the target that answers after 'milliseconds' of its input. /builtin/iterate takes "
            "time by default.",
        ),
    ] = None
    patience: Annotated[
        float,
        Parameter(
            name="--patience",
            metavar="DURATION",
            converter=duration,
            validator=Number(gt=0),
            show_default=lambda _: "20s",
            help="How long the kit waits for what has to come.",
        ),
    ] = 20.0
    strict: Annotated[
        bool, Parameter(name="--strict", help="Count a promise that cannot be tried on this target as broken.")
    ] = False


Kit: TypeAlias = Annotated[KitFlags | None, Parameter(name="*")]
"""The flags of the kit; None if none of them is given."""


class _Plan(NamedTuple):
    """A conformance test, all of it checked."""

    promises: Sequence["Promise"]
    servers: Sequence["Security"]
    flags: KitFlags
    client: str | None


def conformance(
    *,
    target: Annotated[
        str | None, Parameter(name="--target", metavar="ADDRESS", help="The server to try; the same as --address.")
    ] = None,
    client: Annotated[
        str | None,
        Parameter(
            metavar="COMMAND",
            help="Try a client in place of a server: a command for the shell, to which a mode, an address and ids of "
            "runs are added; it follows these, and prints what came of them as JSON.",
        ),
    ] = None,
    junit: Annotated[Path | None, Parameter(metavar="FILE", help="Write a report in JUnit's XML as well.")] = None,
    list_: Annotated[
        bool, Parameter(name="--list", help="Print the promises, and try none.", show_default=False)
    ] = False,
    kit: Kit = None,
    gateway: Gateway = None,
) -> int:
    """Try on a server of the contract what it promises to who follows runs, in GetRun, WatchRuns and sets.

    It submits runs of its own, and deletes them at the end, also when Ctrl-C or SIGTERM ends it. Exit codes: 0 if every
    promise that could be tried is kept, 1 if one is broken, 2 if nothing could be tried.
    """
    flags, reached = kit or KitFlags(), gateway or GatewayFlags()
    _check(flags, client)
    _check_together(target, client, flags, reached.given())
    promises = _chosen(flags.only, of_clients=client is not None)
    if list_:
        if junit is not None:
            raise UsageError("--junit: --list tries nothing that a report could be written of")
        for promise in promises:
            print_line(f"{promise.name}\n    {promise.text}\n    {promise.place}")
        return ExitCode.OK
    plan = _Plan(promises, [] if client is not None else _servers(target, flags.other, reached), flags, client)
    opened = nullcontext() if junit is None else opened_report(junit, promises)
    with opened as report, EndingSignals() as ending:  # Until a pipe has its reader, Ctrl-C ends the kit at once.
        tried = _try(plan, report, ending)
        return ending.exit_code or _exit_code(tried, strict=flags.strict)


def _check(flags: KitFlags, client: str | None) -> None:
    """Raises UsageError if what a flag says cannot be."""
    for name, command in (("--client", client), ("--restart", flags.restart)):
        if command is not None and not command.strip():
            raise UsageError(f"{name}: expected a command for the shell, got {command!r}")
    if flags.slow_component is not None and not flags.slow_component.startswith("/"):
        raise UsageError(f"--slow-component: expected /PATH, got {shortened(flags.slow_component)!r}")


def _check_together(target: str | None, client: str | None, flags: KitFlags, reached: Sequence[str]) -> None:
    """Raises UsageError if flags exclude each other. `reached` are the flags that say how a server is reached."""
    if target is not None and "--address" in reached:
        raise UsageError("--target and --address exclude each other: both name the server to try")
    if client is None:
        return
    named = {
        "--target": target,
        "--other": flags.other,
        "--restart": flags.restart,
        "--slow-component": flags.slow_component,
    }
    of_servers = [*(name for name, value in named.items() if value is not None), *reached]
    if of_servers:
        raise UsageError(f"--client is tried on a server of the kit: leave out {', '.join(of_servers)}")


def _servers(target: str | None, other: str | None, flags: GatewayFlags) -> list["Security"]:
    """The target, and the other server if there is one."""
    given = {"--target": target, "--other": other}
    addresses = {flag: address for flag, address in given.items() if address is not None}
    if target is None:
        addresses = {"--address": flags.address, **addresses}
    return [security_of(replace(flags, address=address), flag) for flag, address in addresses.items()]


def _chosen(names: Sequence[str], *, of_clients: bool) -> list["Promise"]:
    """The promises with these names, all without. Raises UsageError for a name that no promise has."""
    from gateway.conformance.all_promises import CLIENT_PROMISES, PROMISES

    promises, others = (CLIENT_PROMISES, PROMISES) if of_clients else (PROMISES, CLIENT_PROMISES)
    for name in names:
        if _named(promises, name):
            continue
        if _named(others, name):
            how = "without" if of_clients else "with"
            raise UsageError(f"--only: {shortened(name)!r} is tried {how} --client")
        raise UsageError(f"--only: no promise has the name {shortened(name)!r}: --list prints them")
    return [each for each in promises if not names or any(fnmatchcase(each.name, name) for name in names)]


def _named(promises: Sequence["Promise"], name: str) -> bool:
    """Whether a promise has a name, which may have a *."""
    return any(fnmatchcase(promise.name, name) for promise in promises)


def _try(plan: _Plan, report: Report | None, ending: EndingSignals) -> list["TriedPromise"]:
    """Try promises, and tell what comes of them. Raises CommandError if the target is of no use, and tells that too."""
    from gateway.conformance.conduct import TargetUnusable, none_tried
    from gateway.conformance.text_report import summary_of

    tried: list[TriedPromise] = []
    try:
        asyncio.run(_conduct(plan, tried, ending))
        if ending.came is not None:
            tried += none_tried(plan.promises[len(tried) :], f"{ending.came.name} has ended the kit")
    except TargetUnusable as error:
        reason = f"the target cannot be tried: {error}"
        tried += none_tried(plan.promises, reason)
        raise CommandError(reason, ExitCode.USAGE) from None
    finally:
        try:
            print_line(summary_of(tried))
        finally:
            if report is not None:
                report.write(tried)
    return tried


async def _conduct(plan: _Plan, tried: list["TriedPromise"], ending: EndingSignals) -> None:
    """Try promises, print each, and note it, until a signal comes."""
    from gateway.conformance.client_under_test import ClientUnderTest
    from gateway.conformance.conduct import each_tried, outcomes
    from gateway.conformance.restart_command import restart_by
    from gateway.conformance.scene import Scene
    from gateway.conformance.target import opened_target

    flags = plan.flags
    restart: Callable[[], Awaitable[None]] | None = None
    if flags.restart is not None:
        restart = restart_by(flags.restart, flags.patience)
    async with AsyncExitStack() as stack:
        if plan.client is not None:
            under_test = ClientUnderTest(plan.client, flags.patience)
            await ending.cut(_note(each_tried(under_test, plan.promises), tried))
            return
        target, *others = [
            await stack.enter_async_context(opened_target(server, flags.patience)) for server in plan.servers
        ]
        scene = Scene(target, others=others, component=flags.slow_component, restart=restart)
        stack.push_async_callback(_clear, scene, ending)
        await ending.cut(_note(outcomes(scene, plan.promises), tried))


async def _clear(scene: "Scene", ending: EndingSignals) -> None:
    """Delete the runs of the kit; when a signal ends it, those that may be left are told."""
    cleared = await ending.cut(scene.clear(await_target=ending.came is not None), _LAST_SECONDS)
    if ending.came is not None and not cleared:
        print_error(f"runs of the kit may be left: runs-gateway delete --cancel --label {scene.label}")


async def _note(outcomes: AsyncGenerator["TriedPromise", None], tried: list["TriedPromise"]) -> None:
    from gateway.conformance.text_report import line_of

    async with aclosing(outcomes):
        async for one in outcomes:
            tried.append(one)
            print_line(line_of(one))


def _exit_code(tried: Sequence["TriedPromise"], *, strict: bool) -> ExitCode:
    from gateway.conformance.conduct import Verdict

    broken = {Verdict.BROKEN, Verdict.NOT_TRIED} if strict else {Verdict.BROKEN}
    if any(one.verdict in broken for one in tried):
        return ExitCode.ERROR
    return ExitCode.OK if any(one.verdict is Verdict.KEPT for one in tried) else ExitCode.USAGE
