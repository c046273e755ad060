"""The settings of a gateway for commands that do something beside it: those that `serve` would have."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.errors import UsageError

if TYPE_CHECKING:
    from gateway.server.settings import ServeSettings


def serve_settings(flags: dict[str, Any], config_file: Path | None) -> "ServeSettings":
    """The settings, in which flags that are None were not given. Raises UsageError if they are not valid."""
    from gateway.server.settings import SettingsError
    from gateway.server.settings_sources import load_serve

    try:
        given = {name: value for name, value in flags.items() if value is not None}
        return load_serve(given, os.environ, config_file)
    except SettingsError as error:
        raise UsageError(str(error)) from None
