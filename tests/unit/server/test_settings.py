"""The description of settings: what flags, the environment and documents take from the models."""

from pathlib import Path
from typing import get_origin

import pytest
from pydantic import BaseModel, ValidationError

from gateway.core.sizes import size_text
from gateway.server.settings import BridgeSettings, ServeSettings, settings_of
from tests.support.settings_tables import DOCUMENTS, TARGET, table
from tests.support.tables import with_table

MODELS = [ServeSettings, BridgeSettings]


@pytest.mark.parametrize(("file", "model"), DOCUMENTS.items(), ids=lambda value: getattr(value, "name", ""))
def test_the_documents_have_the_tables(file: Path, model: type[BaseModel]) -> None:
    document = file.read_text(encoding="utf-8")
    assert document == with_table(document, TARGET, table(model)), f"`make {TARGET}` writes it anew"


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_has_a_description_and_a_flag_of_its_own(model: type[BaseModel]) -> None:
    settings = settings_of(model)
    assert settings.keys() == model.model_fields.keys()
    assert [name for name, setting in settings.items() if not setting.field.description] == []
    flags = [setting.flag for setting in settings.values() if not setting.file_only]
    assert len(set(flags)) == len(flags)


@pytest.mark.parametrize("model", MODELS)
def test_maps_and_nothing_else_are_given_entry_by_entry(model: type[BaseModel]) -> None:
    for setting in settings_of(model).values():
        assert setting.file_only or (setting.entry is not None) == (get_origin(setting.field.annotation) is dict)


def test_a_setting_has_a_name_everywhere() -> None:
    components = settings_of(ServeSettings)["components"]
    assert (components.flag, components.variable) == ("--component", "RUNS_GATEWAY_COMPONENTS")
    grpc_address = settings_of(ServeSettings)["grpc_address"]
    assert (grpc_address.flag, grpc_address.variable) == ("--grpc-address", "RUNS_GATEWAY_GRPC_ADDRESS")


def test_a_setting_that_both_servers_share_has_one_description() -> None:
    serve, bridge = settings_of(ServeSettings), settings_of(BridgeSettings)
    for name in ("components", "component_env", "max_tasks", "lossy_numbers"):
        assert serve[name].field.description == bridge[name].field.description


def test_defaults_that_depend_on_the_machine_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert settings_of(ServeSettings)["state"].default == "/somewhere/runs-gateway/runs.db"
    assert settings_of(BridgeSettings)["state"].default == "/somewhere/runs-gateway/bridge.db"
    assert not settings_of(BridgeSettings)["engine"].has_default


@pytest.mark.parametrize(
    ("size", "read"),
    [("512MiB", 512 << 20), (" 2 GiB ", 2 << 30), ("134217728", 1 << 27), (1 << 30, 1 << 30), ("1TiB", 1 << 40)],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(size: object, read: int) -> None:
    assert ServeSettings.model_validate({"max_memory": size}).max_memory == read


@pytest.mark.parametrize("size", ["512MB", "1.5GiB", "-1", "", "MiB", True, 1.5e9, "63MiB", "9" * 19, None])
def test_other_sizes_are_refused(size: object) -> None:
    with pytest.raises(ValidationError):
        ServeSettings.model_validate({"max_memory": size})


def test_a_size_that_is_too_large_is_told_the_limit() -> None:
    with pytest.raises(ValidationError, match=f"less than or equal to {1 << 60}"):
        ServeSettings.model_validate({"max_memory": "9" * 23})


def test_sizes_are_written_for_people() -> None:
    sizes = (0, 1023, 1024, 512 << 20, (12 << 30) + 5, 1 << 60)
    assert [size_text(size) for size in sizes] == ["0 bytes", "1023 bytes", "1 KiB", "512 MiB", "12 GiB", "1048576 TiB"]
