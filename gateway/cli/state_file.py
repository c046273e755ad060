"""The commands about a state file: `prune` and `backup`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.errors import CommandError, UsageError
from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.given_settings import serve_settings
from gateway.cli.parameters import ConfigFile
from gateway.core.json_text import quote

StateFlag = Annotated[str | None, Parameter(name="--state", help="The state file; that of the settings by default.")]


def prune(
    *,
    state: StateFlag = None,
    keep: Annotated[str | None, Parameter(help="How long runs are kept that no rule concerns.")] = None,
    keep_runs: Annotated[str | None, Parameter(help="How many runs are kept that no rule concerns.")] = None,
    keep_blobs: Annotated[str | None, Parameter(help="How long unused blobs are kept.")] = None,
    dry_run: Annotated[bool, Parameter(help="Tell what would go, and change nothing.")] = False,
    config_file: ConfigFile = None,
    form: Form = None,
) -> None:
    """Delete runs and blobs that the settings do not keep, and give the room back to the file system.

    No gateway may use the file meanwhile: one that runs prunes it by itself. With --dry-run one may.
    """
    from gateway.runtimes.embedded import offline_pruning
    from gateway.server.kept_time import retention_of
    from gateway.storage.owned_file import StateError

    chosen = form_of(form)
    flags = {"state": state, "keep": keep, "keep_runs": keep_runs, "keep_blobs": keep_blobs}
    settings = _settings(flags, config_file)
    path, retention = Path(settings.state), retention_of(settings)
    try:
        if dry_run:
            pruned = offline_pruning.preview(path, retention)
        else:
            pruned = asyncio.run(offline_pruning.prune(path, retention))
    except StateError as error:
        raise CommandError(f"{error} (--state)") from None
    value = f'{{"runs":{pruned.runs},"blobs":{pruned.blobs},"dryRun":{str(dry_run).lower()}}}'
    gone = "would go" if dry_run else "have gone"
    print_either(chosen, value, f"{pruned.runs:,} runs and {pruned.blobs:,} blobs {gone}")


def backup(file: Path, /, *, state: StateFlag = None, config_file: ConfigFile = None, form: Form = None) -> None:
    """Copy the state into a new file, as it is now. A gateway may use it meanwhile.

    To restore it, stop the gateway, put the copy in the place of the state, without the files beside that end with
    -wal and -shm, and start the gateway.

    Parameters
    ----------
    file
        The copy. It must not exist.
    """
    from gateway.core.sizes import size_text
    from gateway.storage.backup import back_up
    from gateway.storage.owned_file import StateError

    chosen = form_of(form)
    source = _settings({"state": state}, config_file).state
    try:
        size = back_up(Path(source), file)
    except StateError as error:
        raise CommandError(str(error)) from None
    print_either(chosen, f'{{"file":{quote(str(file))},"bytes":{size}}}', f"{file}: {size_text(size)}")


def _settings(flags: dict[str, Any], config_file: Path | None) -> Any:
    from gateway.storage.idempotency import IN_MEMORY

    settings = serve_settings(flags, config_file)
    if settings.state == IN_MEMORY:
        raise UsageError("the state is in memory, and not in a file (--state)")
    return settings
