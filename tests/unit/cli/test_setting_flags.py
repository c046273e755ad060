"""Flags that are made from settings: their names, their values and their help."""

from typing import Any

import pytest
from cyclopts import App, CycloptsError, Parameter

from gateway.cli.errors import CommandError
from gateway.cli.setting_flags import given, takes_settings
from gateway.server.settings import BridgeSettings, ServeSettings, settings_of

MODELS = [ServeSettings, BridgeSettings]
Model = type[ServeSettings] | type[BridgeSettings]


def called(model: Model, *arguments: str) -> dict[str, Any]:
    """The flags that a command with the settings of `model` is given."""
    app = App(name="test", default_parameter=Parameter(negative=""))

    @app.default
    @takes_settings(model)
    def command(*, other: bool = False, **flags: Any) -> dict[str, Any]:
        return given(model, flags)

    result: dict[str, Any] = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    return result


@pytest.mark.parametrize("model", MODELS)
def test_flags_that_are_not_given_set_nothing(model: Model) -> None:
    assert called(model) == {}
    assert called(model, "--other") == {}


def test_values_have_the_types_of_the_settings() -> None:
    arguments = ("--max-calls", "7", "--lossy-numbers", "--dialect", "0.9", "--state", "a.db", "--queue", "q")
    assert called(ServeSettings, *arguments) == {
        "max_calls": 7,
        "lossy_numbers": True,
        "dialect": "0.9",
        "state": "a.db",
        "queue": "q",
    }


@pytest.mark.parametrize("model", MODELS)
def test_maps_are_given_entry_by_entry(model: Model) -> None:
    arguments = ("--component", "/a=http://b", "--component", "/c=run --x=1", "--component-env", "A=b")
    assert called(model, *arguments) == {
        "components": {"/a": "http://b", "/c": "run --x=1"},
        "component_env": {"A": "b"},
    }
    with pytest.raises(CommandError, match=r"^--component-env: expected NAME=VALUE, got 'A'$"):
        called(model, "--component-env", "A")


@pytest.mark.parametrize("arguments", [("--max-tasks", "many"), ("--dialect", "0.1"), ("--components", "/a=b")])
def test_other_values_and_names_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CycloptsError):
        called(ServeSettings, *arguments)


@pytest.mark.parametrize("model", MODELS)
def test_the_help_has_every_flag_its_description_and_its_default(
    model: Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    called(model, "--help")
    lines = capsys.readouterr().out.splitlines()
    for setting in settings_of(model).values():
        [line] = [line for line in lines if f" {setting.flag} " in line]
        assert str(setting.field.description).replace("`", "") in line
        assert ("[default: " in line) == setting.has_default
        assert not setting.has_default or f"[default: {setting.default}]" in line
        assert setting.entry is None or (f"{setting.flag} {setting.entry.form}" in line and "May be repeated." in line)
