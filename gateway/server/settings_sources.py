"""Reads settings from flags, the environment and a file, in this order of precedence."""

import errno
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from gateway.core.json_place import json_problem, place_of, utf8_text
from gateway.core.rules import fault_text
from gateway.core.yaml_json import EmptyYamlError, yaml_to_json
from gateway.server.setting_forms import RuntimeKind, expand_home
from gateway.server.settings import ENV_PREFIX, BridgeSettings, ServeSettings, Setting, SettingsError, settings_of
from gateway.server.tls_checks import check_tls

Settings = TypeVar("Settings", ServeSettings, BridgeSettings)

_TOML_PLACE = re.compile(r"(?P<problem>.*) \(at (?:(?P<place>line \d+, column \d+)|end of document)\)", re.DOTALL)

_LONG_NUMBER = re.compile(r"[0-9_]{640,}")
"""A number that Python may not read: 640 digits is the lowest limit that it can be given, and 4,300 the usual one."""

_NEARLY_THE_SAME = 0.9
"""How alike two variables are whose names differ by a slip: the prefix that both have counts."""

_OTHER_VARIABLE = re.compile(
    r"ADDRESS|CONFIG|NAMESPACE|TOKEN(_FILE)?|TLS_(CA|CLIENT_CERT|CLIENT_KEY)|(SERVICE_(HOST|PORT.*))|(PORT(_\d+_.*)?)"
)
"""The variables that commands read besides settings, and those that Kubernetes sets for a service of this name."""

_Source = dict[str, tuple[Any, str]]
"""Settings by name, each with the words that say where it came from."""

_EMBEDDED: Final = frozenset({RuntimeKind.EMBEDDED})
_STEPFLOW: Final = frozenset({RuntimeKind.STEPFLOW})
_TEMPORAL: Final = frozenset({RuntimeKind.TEMPORAL})
_HERE: Final = _EMBEDDED | _TEMPORAL
"""Those whose runs execute in gateways."""
_WITH_COMPONENTS: Final = _HERE | _STEPFLOW

KINDS_WITH: Mapping[str, frozenset[RuntimeKind]] = {
    "state": frozenset({RuntimeKind.EMBEDDED, RuntimeKind.JSONRPC, RuntimeKind.STEPFLOW}),
    "components": _WITH_COMPONENTS,
    "max_flow_bytes": _HERE,
    "component_env": _WITH_COMPONENTS,
    "execution_timeouts": _WITH_COMPONENTS,
    "blob_api_url": _WITH_COMPONENTS,
    "transport_retries": _HERE,
    "queue": _STEPFLOW,
    "max_tasks": _STEPFLOW,
    "blobs": _TEMPORAL,
    "gateway_roles": _TEMPORAL,
    "payload_key": _TEMPORAL,
    "dialect": frozenset({RuntimeKind.JSONRPC}),
    "lossy_numbers": _STEPFLOW,
    "max_executing_items": _HERE,
    "file_directories": _HERE,
    "max_depth": _HERE,
    "max_descendants": _HERE,
    "keep": _EMBEDDED,
    "keep_runs": _EMBEDDED,
    "keep_blobs": _EMBEDDED,
    "retention": _EMBEDDED,
    "run_timeout": _HERE,
}
"""Settings that only some runtimes have."""


class _RepeatedKey(ValueError):
    """An object of settings has a key twice."""


def load_serve(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> ServeSettings:
    """Return the settings of a gateway.

    `flags` has the values of the flags that were given, by the names of their settings. Maps are merged by key.
    Raises SettingsError if a setting is not valid or has no meaning beside the others.
    """
    settings, origins = _merge(ServeSettings, flags, environ, file)
    _check_combination(settings, origins)
    check_tls(settings, origins)
    return settings


def load_bridge(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> BridgeSettings:
    """Return the settings of a bridge, as `load_serve` does for a gateway."""
    settings, origins = _merge(BridgeSettings, flags, environ, file)
    if settings.gateway is not None and "state" in origins:
        why = f"the gateway keeps the idempotency keys (gateway from {origins['gateway']})"
        raise SettingsError(f"state (from {origins['state']}): {why}")
    check_tls(settings, origins)
    return settings


def _merge(
    model: type[Settings], flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None
) -> tuple[Settings, dict[str, str]]:
    """Return the settings, and where each came from."""
    known = settings_of(model)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in (_read_file(file) if file else {}, _read_environment(known, environ), _read_flags(known, flags)):
        for name, (value, origin) in source.items():
            is_map = name in known and known[name].entry is not None
            merge = is_map and isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if merge else value
            origins[name] = origin
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        faults = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
        # In the order in which users see settings; pydantic has those that servers share first.
        places = {name: place for place, name in enumerate(known)}
        faults.sort(key=lambda item: places.get(str(item["loc"][0]), len(places)))
        raise SettingsError("; ".join(_describe(item, known, origins) for item in faults)) from None
    _check_issuer(settings, origins)
    return settings, origins


def _check_issuer(settings: Settings, origins: Mapping[str, str]) -> None:
    """Raise SettingsError if JWTs were accepted without a look at who has made them, and for whom."""
    if len({settings.jwt_issuer is None, settings.jwt_audience is None, settings.jwt_keys is None}) > 1:
        raise SettingsError("jwt_issuer, jwt_audience and jwt_keys: give all three, or none")
    for name in origins:
        if name.startswith("jwt_") and settings.jwt_keys is None:
            raise SettingsError(f"{name} (from {origins[name]}): there is no jwt_keys")


def _check_combination(settings: ServeSettings, origins: Mapping[str, str]) -> None:
    """Raise SettingsError if a setting has no meaning beside the others."""
    kind = settings.runtime_kind
    for name, kinds in KINDS_WITH.items():
        if name in origins and kind not in kinds:
            origin = f" (from {origins['runtime']})" if "runtime" in origins else ""
            raise SettingsError(
                f"{name} (from {origins[name]}): a runtime of this kind does not have it: {settings.runtime!r}{origin}"
            )
    if kind is RuntimeKind.STEPFLOW and (settings.queue is None) != (not settings.components):
        raise SettingsError(
            "components and queue: an engine's tasks come from a queue and go to component servers; give both, or none"
        )
    _check_workers(settings, origins)


def _check_workers(settings: ServeSettings, origins: Mapping[str, str]) -> None:
    """Raise SettingsError if there are worker processes that cannot serve, or have nobody to serve."""
    if settings.workers > 1 and not settings.takes_calls:
        raise SettingsError(
            f"workers (from {origins['workers']}): they serve clients, and this gateway has none "
            f"(gateway_roles from {origins['gateway_roles']})"
        )
    for name in ("grpc_address", "http_address"):
        if settings.workers > 1 and getattr(settings, name).startswith("unix:"):
            raise SettingsError(
                f"{name} (from {origins[name]}): workers share a port, and a unix socket has none "
                f"(workers from {origins['workers']})"
            )


def _read_flags(known: Mapping[str, Setting], flags: Mapping[str, Any]) -> _Source:
    return {name: (value, known[name].flag) for name, value in flags.items()}


def _read_environment(known: Mapping[str, Setting], environ: Mapping[str, str]) -> _Source:
    # Other variables with the prefix are ignored: Kubernetes sets RUNS_GATEWAY_PORT and similar ones in every container
    # that runs next to a service with this name.
    source: _Source = {}
    for name, setting in known.items():
        # An empty variable is one that is not set: files for containers often cannot leave a variable out.
        if not setting.file_only and (text := environ.get(setting.variable)):
            source[name] = (_parse_map(text, setting.variable) if setting.entry else text, setting.variable)
    return source


def _parse_map(text: str, variable: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_members)
    except _RepeatedKey as error:
        problem = str(error)
    except (ValueError, RecursionError) as error:
        problem = json_problem(text) or _unreadable(text, error)
    raise SettingsError(f"{variable}: expected a JSON object: {problem}")


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if it has a key twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKey(f"the key {twice!r} is given twice")
    return members


def _read_file(file: Path) -> _Source:
    """Read a file of settings. The ending of its name tells the format."""
    try:
        file = Path(expand_home(str(file)))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    parse = _PARSERS.get(file.suffix.lower())
    if parse is None and not file.exists():
        raise SettingsError(f"{file}: {os.strerror(errno.ENOENT)}")
    if parse is None:
        raise SettingsError(f"{file}: the name of a file of settings ends with {', '.join(_PARSERS)}")
    try:
        settings = parse(utf8_text(file.read_bytes()))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{file}: {_one_line(error)}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise SettingsError(f"{file}: expected settings by name")
    return {str(name): (value, str(file)) for name, value in settings.items()}


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
    except (ValueError, RecursionError) as error:
        raise ValueError(_unreadable(text, error)) from None
    match = _TOML_PLACE.fullmatch(message)
    # The message has the place at its end.
    raise ValueError(message if match is None else f"{match['place'] or place_of(text, len(text))}: {match['problem']}")


def _parse_yaml(text: str) -> Any:
    try:
        translated = yaml_to_json(text)
    except EmptyYamlError:
        return None
    try:
        return json.loads(translated)
    except (ValueError, RecursionError) as error:
        raise ValueError(_unreadable(text, error)) from None


def _unreadable(text: str, error: Exception) -> str:
    """Why Python does not read a text without a mistake in it: of integers, it takes some thousand digits."""
    number = _LONG_NUMBER.search(text)
    if isinstance(error, RecursionError) or number is None:
        return "nested too deeply"
    return f"{place_of(text, number.start())}: a number with too many digits"


_PARSERS: Mapping[str, Callable[[str], Any]] = {".toml": _parse_toml, ".yaml": _parse_yaml, ".yml": _parse_yaml}
"""The formats of files of settings, by the endings of their names."""


def _describe(error: Any, known: Mapping[str, Setting], origins: Mapping[str, str]) -> str:
    """Return a line about a setting that is not valid."""
    name, *path = error["loc"]
    if error["type"] == "missing" and not path:
        return f"{name}: is needed; give {known[name].flag}, or {known[name].variable}"
    where = ".".join([name, *map(str, path)])
    what = f"unknown setting{_meant(name, known)}" if error["type"] == "extra_forbidden" else fault_text(error)
    return f"{where} (from {origins[name]}): {_one_line(what)}"


def mistyped_variables(model: type[Settings], environ: Mapping[str, str]) -> list[str]:
    """Return a line about each variable in the environment that looks like a setting spelled wrongly.

    They are no errors: others may use the prefix for variables of their own.
    """
    known = {setting.variable: setting for setting in settings_of(model).values() if not setting.file_only}
    return [
        f"the variable {name} is no setting; did you mean {meant[0]}?"
        for name in sorted(environ)
        if name.startswith(ENV_PREFIX)
        and name not in known
        and not _OTHER_VARIABLE.fullmatch(name.removeprefix(ENV_PREFIX))
        and (meant := get_close_matches(name, known, n=1, cutoff=_NEARLY_THE_SAME))
    ]


def _meant(name: str, known: Mapping[str, Setting]) -> str:
    """The end of a message about an unknown setting: the one that it looks like, if there is one."""
    meant = get_close_matches(name.lower().replace("-", "_"), known, n=1)
    return f"; did you mean {meant[0]}?" if meant else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
