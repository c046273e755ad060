"""Gives a command a flag for each setting of a server."""

from collections.abc import Callable, Mapping
from inspect import Parameter as SignatureParameter
from inspect import signature
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from cyclopts import Parameter
from pydantic import BaseModel

from gateway.cli.assignments import assignments
from gateway.server.settings import Setting, SettingsError, settings_of

P = ParamSpec("P")
R = TypeVar("R")

_METAVARS = {str: "TEXT", int: "NUMBER", float: "DURATION", bool: "[BOOL]"}
"""What the help shows after a flag. A flag with few values shows these."""


def takes_settings(model: type[BaseModel]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add the flags of a model's settings to a command that takes `**flags`.

    The command is called with the flags that were given, by the names of their settings; `given` reads them.
    """

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        own = signature(command)
        parameters = [each for each in own.parameters.values() if each.kind is not SignatureParameter.VAR_KEYWORD]
        flags = [_parameter(setting) for setting in settings_of(model).values() if not setting.file_only]
        # The signature that cyclopts reads; a type checker knows of no such attribute.
        command.__signature__ = own.replace(parameters=[*flags, *parameters])  # type: ignore[attr-defined]
        return command

    return decorate


def given(model: type[BaseModel], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that were given. Raises UsageError if an entry of a map is malformed."""
    settings = settings_of(model)
    given_flags = {name: value for name, value in flags.items() if value is not None}
    for name, value in given_flags.items():
        if entry := settings[name].entry:
            given_flags[name] = assignments(settings[name].flag, entry.form, value)
    return given_flags


def _parameter(setting: Setting) -> SignatureParameter:
    """The flag of a setting. Not given, it leaves the setting to the environment and the file.

    A flag gives text, which the settings check as they do for the environment.
    """
    kind = _kind(setting.field.annotation)
    # A flag without a value is true. A value after an equals sign remains text. Shells complete those of a Literal.
    known = kind is bool or get_origin(kind) is Literal
    takes_dash = "-" in (setting.form or "").split("|")
    annotation: Any = list[str] if setting.entry or setting.list_entry else kind | str if known else str
    flag = Parameter(
        name=setting.flag,
        help=f"{setting.field.description}{' May be repeated.' if setting.entry or setting.list_entry else ''}",
        show_choices=False,
        # So that the words about one that is negative come from the setting.
        allow_leading_hyphen=kind is float or takes_dash,
        validator=_file_or_dash if takes_dash else None,
        metavar=setting.form or _METAVARS.get(kind, "|".join(get_args(kind))),
        show_default=(lambda _: _default(setting)) if setting.has_default else False,
    )
    return SignatureParameter(
        setting.name, SignatureParameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, flag]
    )


def _file_or_dash(_: Any, value: str | None) -> None:
    """Raise ValueError if a value is the next option: `-` alone is a standard stream."""
    if value is not None and value.startswith("-") and value != "-":
        raise ValueError(f"expected a file or '-', got {value!r}; a file of that name is './{value}'")


def _default(setting: Setting) -> Any:
    """The default of a setting on this machine, or in words if it has none here, or is in seconds."""
    try:
        default = setting.default
    except SettingsError:
        default = None
    if default is None or (isinstance(default, float) and setting.default_text):
        return str(setting.default_text).replace("`", "")
    return default


def _kind(annotation: Any) -> Any:
    """The type of a setting without its checks and without None."""
    if get_origin(annotation) is Annotated or type(None) in get_args(annotation):
        return _kind(get_args(annotation)[0])
    return annotation
