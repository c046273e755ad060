"""Flags that are made from settings: their names, their values and their help."""

import re
from typing import Any

import pytest
from cyclopts import App, CycloptsError, Parameter

from gateway.cli.errors import CommandError, ExitCode
from gateway.cli.program import run
from gateway.cli.setting_flags import given, takes_settings
from gateway.server.settings import BridgeSettings, ServeSettings, Setting, settings_of
from gateway.server.settings_sources import load_serve

Model = type[ServeSettings] | type[BridgeSettings]
MODELS: list[Model] = [ServeSettings, BridgeSettings]


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


@pytest.mark.parametrize("flag", ["--keep", "--run-timeout"])
def test_a_duration_below_zero_is_told_as_such(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", flag, "-1h"]) == ExitCode.USAGE
    assert re.search(f"{flag}\\): expected a duration.*'-1h'", capsys.readouterr().err)


@pytest.mark.parametrize("model", MODELS)
def test_a_value_that_may_be_a_dash_is_taken_as_any_other(model: Model) -> None:
    dashes = [setting for setting in settings_of(model).values() if "-" in (setting.form or "").split("|")]
    assert [setting.name for setting in dashes] == ["audit_log"]
    for given_as in (["--audit-log", "-"], ["--audit-log=-"], ["--audit-log", "-", "--other"]):
        assert called(model, *given_as) == {"audit_log": "-"}


@pytest.mark.parametrize("arguments", [["--audit-log"], ["--audit-log", "--workers", "2"], ["--audit-log", "--ui"]])
def test_an_option_in_place_of_a_file_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", *arguments]) == ExitCode.USAGE
    assert "audit-log" in capsys.readouterr().err


def test_values_are_texts_that_the_settings_check() -> None:
    arguments = ("--max-calls", "7", "--lossy-numbers", "--dialect", "0.9", "--state", "a.db", "--queue", "q")
    assert called(ServeSettings, *arguments) == {
        "max_calls": "7",
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
    with pytest.raises(CommandError, match=r"^--component: expected PREFIX=TARGET, got 'A'$"):
        called(model, "--component", "A")


@pytest.mark.parametrize("arguments", [("--components", "/a=b"), ("--max-calls",), ("--queue", "a", "--queue", "b")])
def test_other_names_and_flags_without_one_value_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CycloptsError):
        called(ServeSettings, *arguments)


@pytest.mark.parametrize(("text", "value"), [("", True), ("=true", True), ("=false", False)])
def test_a_flag_without_a_value_is_true(text: str, value: bool) -> None:
    flags = called(ServeSettings, f"--lossy-numbers{text}")
    assert load_serve({**flags, "runtime": "stepflow+http://a:1"}, {}).lossy_numbers is value


TEXTS = {"state", "queue", "audit_log", "tokens", "signing_key"}
"""Settings that are any text, but not an empty one."""


def refused_value(setting: Setting) -> str:
    """A value that a setting does not take."""
    if setting.entry:
        return "no equals sign"
    return "" if setting.name in TEXTS or setting.name.startswith(("jwt_", "upstream_")) else "?"


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        pytest.param(command, setting, id=f"{command}{setting.flag}")
        for command, model in zip(["serve", "bridge"], MODELS, strict=True)
        for setting in settings_of(model).values()
        if not setting.file_only
    ],
)
def test_a_value_that_is_refused_is_one_line_with_its_setting(
    command: str, setting: Setting, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = {"engine": "http://a:1", "queue": "q", "components": '{"/a": "http://b"}'} if command == "bridge" else {}
    for name in needed.keys() - {setting.name}:
        monkeypatch.setenv(f"RUNS_GATEWAY_{name.upper()}", needed[name])
    assert run([command, f"{setting.flag}={refused_value(setting)}"]) == ExitCode.USAGE
    printed = capsys.readouterr().err
    in_words = f"{setting.name} (from {setting.flag}): "
    named = f"{setting.flag}: expected {setting.entry.form}, got " if setting.entry else in_words
    assert printed.startswith(f"error: {named}")
    assert printed.count("\n") == 1
    assert printed.endswith(f" (see runs-gateway {command} --help)\n")
    assert not re.search("pydantic|validation error|[Ii]nput should|should have", printed)


@pytest.mark.parametrize("model", MODELS)
def test_the_help_has_every_flag_its_description_and_its_default(
    model: Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    called(model, "--help")
    lines = capsys.readouterr().out.splitlines()
    for setting in settings_of(model).values():
        if setting.file_only:
            continue
        [line] = [line for line in lines if f" {setting.flag} " in line]
        assert str(setting.field.description).replace("`", "") in line
        assert ("[default: " in line) == setting.has_default
        shown = "7d" if setting.name == "keep_blobs" else setting.default
        assert not setting.has_default or f"[default: {shown}]" in line
        assert setting.entry is None or (f"{setting.flag} {setting.entry.form}" in line and "May be repeated." in line)
