"""The forms that settings have."""

import pwd
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.server.setting_forms import BlobsUrl
from gateway.server.settings import BridgeSettings, SettingsError
from gateway.server.settings_sources import load_bridge, load_serve

BRIDGE = {"engine": "http://127.0.0.1:7840", "queue": "q", "components": {"/a": "http://127.0.0.1:1"}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("state", "~/runs.db", "{home}/runs.db"),
        ("state", "~root/runs.db", "{root}/runs.db"),
        ("state", "/a/~/runs.db", "/a/~/runs.db"),
        ("state", ":memory:", ":memory:"),
        ("grpc_address", "unix:~/a.sock", "unix:{home}/a.sock"),
        ("http_address", "unix:~/a.sock", "unix:{home}/a.sock"),
    ],
)
def test_a_path_may_begin_in_a_home_directory(name: str, given: str, expected: str, home: Path) -> None:
    expected = expected.format(home=home, root=pwd.getpwnam("root").pw_dir)
    for settings in (load_serve({name: given}, {}), load_serve({}, {f"RUNS_GATEWAY_{name.upper()}": given})):
        assert getattr(settings, name) == expected


def test_so_may_the_sockets_of_other_gateways_and_the_file_of_settings(home: Path) -> None:
    assert load_serve({"runtime": "unix:~/a.sock"}, {}).runtime == f"unix:{home}/a.sock"
    assert BridgeSettings.model_validate({**BRIDGE, "gateway": "unix:~/a.sock"}).gateway == f"unix:{home}/a.sock"
    assert load_bridge({**BRIDGE, "state": "~/b.db"}, {}).state == f"{home}/b.db"
    (home / "settings.toml").write_text('state = "~/runs.db"')
    assert load_serve({}, {}, Path("~/settings.toml")).state == f"{home}/runs.db"


def test_a_home_that_does_not_exist_is_refused() -> None:
    message = r"^state \(from --state\): there is no home directory ~absent, in '~absent/a'"
    with pytest.raises(SettingsError, match=message):
        load_serve({"state": "~absent/a"}, {})
    with pytest.raises(SettingsError, match=r"there is no home directory ~absent"):
        load_serve({}, {}, Path("~absent/settings.toml"))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("a", "expected directories by their absolute paths, got 'a'"),
        ("/:", "expected directories by their absolute paths, got ''"),
        ("/:{home}/absent", "'{home}/absent' cannot be used: No such file or directory"),
        ("~/file/below", "'{home}/file/below' cannot be used: Not a directory"),
        ("~/file", "'{home}/file' is not a directory"),
    ],
)
def test_directories_have_to_be_there(given: str, fault: str, home: Path) -> None:
    (home / "file").touch()
    message = f"file_directories (from --file-directories): {fault.format(home=home)}"
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        load_serve({"file_directories": given.format(home=home)}, {})
    assert load_serve({"file_directories": f"/:{home}"}, {}).directories == ["/", str(home)]


FORM_OF_BLOBS = TypeAdapter(BlobsUrl)


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://my.bucket/a/b", "gs://bucket/a", "az://container/a", "az://$root", "file:///srv/objects"],
)
def test_blobs_are_in_a_bucket_or_a_directory(url: str) -> None:
    assert FORM_OF_BLOBS.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "bucket", "s3:bucket", "s3://", "s3:///a", "http://bucket/a", "memory:///", "file://host/a", "file:a"),
        *("s3://key:secret@bucket", "s3://secret@bucket", "s3://bucket?token=secret", "s3://bucket#secret"),
        *("file:///a?secret", "s3://bucket:80", "s3://[", "/srv/objects"),
    ],
)
def test_other_urls_of_blobs_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError, match="expected s3://BUCKET/PREFIX") as refused:
        FORM_OF_BLOBS.validate_python(url)
    assert "secret" not in refused.value.errors()[0]["msg"]
