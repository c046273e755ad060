"""Gives a command a flag for each setting of a server."""

from collections.abc import Callable, Mapping
from inspect import Parameter as SignatureParameter
from inspect import signature
from typing import Annotated, Any, ParamSpec, TypeVar

from cyclopts import Parameter
from pydantic import BaseModel

from gateway.cli.assignments import assignments
from gateway.server.settings import Setting, settings_of

P = ParamSpec("P")
R = TypeVar("R")


def takes_settings(model: type[BaseModel]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add the flags of a model's settings to a command that takes `**flags`.

    The command is called with the flags that were given, by the names of their settings; `given` reads them.
    """

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        own = signature(command)
        parameters = [each for each in own.parameters.values() if each.kind is not SignatureParameter.VAR_KEYWORD]
        flags = [_parameter(setting) for setting in settings_of(model).values()]
        # The signature that cyclopts reads; a type checker knows of no such attribute.
        command.__signature__ = own.replace(parameters=[*flags, *parameters])  # type: ignore[attr-defined]
        return command

    return decorate


def given(model: type[BaseModel], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that were given. Raises CommandError if an entry of a map is malformed."""
    settings = settings_of(model)
    return {
        name: assignments(settings[name].flag, value) if settings[name].entry else value
        for name, value in flags.items()
        if value is not None
    }


def _parameter(setting: Setting) -> SignatureParameter:
    """The flag of a setting. Not given, it leaves the setting to the environment and the file."""
    annotation: Any = list[str] if setting.entry else setting.field.annotation
    flag = Parameter(
        name=setting.flag,
        help=f"{setting.field.description}{' May be repeated.' if setting.entry else ''}",
        metavar=setting.entry.form if setting.entry else None,
        show_default=(lambda _: setting.default) if setting.has_default else False,
    )
    return SignatureParameter(
        setting.name, SignatureParameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, flag]
    )
