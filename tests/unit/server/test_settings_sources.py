"""Settings: precedence, merging, and errors that name the setting and its source."""

from pathlib import Path
from typing import Any

import pytest

from gateway.access.limit_rules import LimitRule
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.embedded.retention import KeepRule, Retention
from gateway.server.kept_time import retention_of
from gateway.server.setting_forms import RuntimeKind
from gateway.server.settings import ServeSettings, SettingsError, settings_of
from gateway.server.settings_sources import load_bridge, load_serve, mistyped_variables
from gateway.server.tls_settings import TlsSettings


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    return file


def test_defaults_listen_on_loopback_and_keep_state_in_the_users_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    settings = load_serve({}, {})
    assert settings.grpc_address == "127.0.0.1:50051"
    assert settings.http_address == "127.0.0.1:8080"
    assert settings.state == "/somewhere/runs-gateway/runs.db"
    assert settings.components == {}


def test_state_defaults_to_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_serve({}, {}).state == "/home/somebody/.local/state/runs-gateway/runs.db"


def test_flags_count_more_than_the_environment_and_that_more_than_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "c.toml", 'state = "file"\ngrpc_address = "127.0.0.1:1"\nhttp_address = "127.0.0.1:1"\n')
    environ = {"RUNS_GATEWAY_GRPC_ADDRESS": "127.0.0.1:2", "RUNS_GATEWAY_HTTP_ADDRESS": "127.0.0.1:2"}
    settings = load_serve({"http_address": "127.0.0.1:3"}, environ, file)
    assert (settings.state, settings.grpc_address, settings.http_address) == ("file", "127.0.0.1:2", "127.0.0.1:3")


def test_components_of_all_sources_are_merged_by_prefix(tmp_path: Path) -> None:
    file = write(tmp_path, "c.yaml", "components:\n  /a: http://file\n  /b: http://file\n  /c: http://file\n")
    environ = {"RUNS_GATEWAY_COMPONENTS": '{"/b": "http://env", "/c": "http://env"}'}
    settings = load_serve({"components": {"/c": "serve --port 0"}}, environ, file)
    assert settings.components == {"/a": "http://file", "/b": "http://env", "/c": "serve --port 0"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'max_calls = 7\n[components]\n"/sdk" = "http://127.0.0.1:9"\n[component_env]\nKEY = "value"\n'),
        ("c.yaml", "max_calls: 7\ncomponents: {/sdk: 'http://127.0.0.1:9'}\ncomponent_env: {KEY: value}\n"),
    ],
)
def test_toml_and_yaml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    settings = load_serve({}, {}, write(tmp_path, name, text))
    assert settings.max_calls == 7
    assert settings.components == {"/sdk": "http://127.0.0.1:9"}
    assert settings.component_env == {"KEY": "value"}


def test_every_setting_can_come_from_the_environment() -> None:
    values = {
        "grpc_address": "unix:/run/runs-gateway.sock",
        "http_address": "[::1]:80",
        "runtime": "embedded",
        "state": ":memory:",
        "components": {"/a": "http://127.0.0.1:9"},
        "component_env": {"A": "b"},
        "execution_timeouts": {"/a": 1.5},
        "blob_api_url": "http://gateway:8080/api/v1/blobs",
        "transport_retries": 0,
        "metrics_address": "[::1]:9000",
        "traces": "otlp",
        "log_format": "json",
        "log_level": "error",
        "max_message_bytes": 1 << 20,
        "max_calls": 3,
        "max_waiting_calls": 4,
        "max_memory": 1 << 29,
        "max_flow_bytes": 1 << 20,
        "max_executing_items": 6,
        "file_directories": "/tmp:/",
        "max_depth": 0,
        "max_descendants": 5,
        "run_timeout": 90.5,
        "keep": 3_600.0,
        "keep_runs": 10,
        "keep_blobs": 7_200.0,
        "body_timeout": 5,
        "drain_delay": 10,
        "drain_seconds": 20,
        "max_connection_age": 3_600.0,
        "max_connection_age_grace": 60.0,
        "workers": 1,
        "transport": "native",
        "ui": True,
        "audit_log": "/var/log/audit.json",
        "tokens": "/etc/tokens.toml",
        "signing_key": "/etc/signing.key",
        "jwt_issuer": "https://issuer.example",
        "jwt_audience": "runs-gateway",
        "jwt_keys": "https://issuer.example/keys",
        "jwt_identity_claim": "email",
        "jwt_permissions_claim": "scope",
        "jwt_namespace_claim": "/team/name",
    }
    assert values.keys() == ServeSettings.model_fields.keys() - {
        "allow_hosts",
        "allow_origins",
        "blobs",
        "gateway_roles",
        "payload_key",
        "certificates",
        "dialect",
        "jwt_algorithms",
        "limits",
        "limits_in_all",
        "retention",
        "roles",
        "lossy_numbers",
        "queue",
        "max_tasks",
        *TlsSettings.model_fields,
    }
    environ = {f"RUNS_GATEWAY_{name.upper()}": str(value).replace("'", '"') for name, value in values.items()}
    assert values.items() <= load_serve({}, environ).model_dump().items()
    jsonrpc = {"RUNS_GATEWAY_RUNTIME": "jsonrpc+http://a:1", "RUNS_GATEWAY_DIALECT": "0.9"}
    assert load_serve({}, jsonrpc).dialect == "0.9"
    stepflow = {"RUNS_GATEWAY_RUNTIME": "stepflow+http://a:1", "RUNS_GATEWAY_LOSSY_NUMBERS": "true"}
    assert load_serve({}, stepflow).lossy_numbers
    bridge = {"RUNS_GATEWAY_COMPONENTS": '{"/a": "http://b"}', "RUNS_GATEWAY_QUEUE": "q", "RUNS_GATEWAY_MAX_TASKS": "7"}
    settings = load_serve({}, {**stepflow, **bridge})
    assert (settings.queue, settings.max_tasks) == ("q", 7)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1h30m", 5_400), ("0.5s", 0.5), ("500w", 302_400_000)])
def test_durations_have_units_or_are_in_seconds(text: str, seconds: float) -> None:
    assert load_serve({"run_timeout": text}, {}).run_timeout == seconds


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1 hour", "99999999w", "nan"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^run_timeout \(from --run-timeout\): "):
        load_serve({"run_timeout": text}, {})


def test_variables_that_kubernetes_sets_for_a_service_of_this_name_are_no_settings() -> None:
    environ = {"RUNS_GATEWAY_PORT": "tcp://10.0.0.1:50051", "RUNS_GATEWAY_SERVICE_HOST": "10.0.0.1"}
    assert load_serve({}, environ) == load_serve({}, {})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:50051", "0.0.0.0:65535", "[::1]:1", "unix:/run/a.sock"])
def test_addresses_that_are_accepted(address: str) -> None:
    assert load_serve({"grpc_address": address, "insecure": True}, {}).grpc_address == address


@pytest.mark.parametrize(
    "address", ["", "50051", ":50051", "localhost", "localhost:", "::1:80", "a:65536", "a:-1", "a:٣"]
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^grpc_address \(from --grpc-address\): expected HOST:PORT or unix:/PATH"):
        load_serve({"grpc_address": address}, {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "stat = 1", r"stat \(from .*c\.toml\): unknown setting; did you mean state\?$"),
        ("c.toml", "max_calls = 0", r"max_calls \(from .*c\.toml\): expected at least 1, got 0"),
        ("c.toml", "components = 3", r"components \(from .*c\.toml\): expected an object, got 3"),
        ("c.toml", "[components]\n'/a' = 3", r"components\./a \(from .*c\.toml\): expected a string, got 3"),
        ("c.toml", "state =", r"c\.toml: line 1, column 8: Invalid value$"),
        ("c.toml", "workers = true", r"workers \(from .*c\.toml\): expected a whole number, got True"),
        ("c.toml", "max_calls = 1e3", r"max_calls \(from .*c\.toml\): expected a whole number, got 1000\.0"),
        ("c.toml", "max_calls = '1.0'", r"max_calls \(from .*c\.toml\): expected a whole number, got '1\.0'"),
        ("c.toml", "lossy_numbers = 1", r"lossy_numbers \(from .*c\.toml\): expected true or false, got 1"),
        ("c.toml", "workers = 1\nworkers = 2", r"c\.toml: line 2, column 12: Cannot overwrite a value"),
        ("c.yaml", "workers: 1\nworkers: 2", r"c\.yaml: line 2, column 1: the key 'workers' is given twice"),
        ("c.yml", "components:\n  /a: b\n  /a: c", r"c\.yml: line 3, column 3: the key '/a' is given twice"),
        ("c.toml", "execution_timeouts = {'/' = 0}", r"execution_timeouts\./ \(from .*c\.toml\): expected .*0"),
        ("c.toml", "execution_timeouts = {'/' = true}", r"execution_timeouts\./ \(from .*c\.toml\): .*number"),
        ("c.toml", "execution_timeouts = {a = 1, '/a' = 2}", r"execution_timeouts \(from .*: '/a' is given twice"),
        ("c.toml", "blob_api_url = 'gateway:80'", r"blob_api_url \(from .*c\.toml\): expected http://HOST:PORT/PATH"),
        ("c.toml", "log_level = 'all'", r"log_level \(from .*c\.toml\): .*'critical', 'error', 'warning'"),
        ("c.json", "{}", r"c\.json: the name of a file of settings ends with \.toml, \.yaml, \.yml$"),
        ("settings", "", r"settings: the name of a file of settings ends with \.toml, \.yaml, \.yml$"),
        ("c.yaml", "a: b: c", r"c\.yaml: line 1, column 5: mapping values are not allowed here"),
        ("c.yaml", "- a", r"c\.yaml: expected settings by name"),
        ("c.yaml", "[" * 100_000, r"c\.yaml: line 1, column \d+: nested too deeply$"),
        ("c.toml", f"a = {'[' * 100_000}", r"c\.toml: nested too deeply$"),
        ("c.toml", f"\na = {'9' * 9_000}", r"c\.toml: line 2, column 5: a number with too many digits$"),
        ("c.yaml", f"a:\n- {'9' * 9_000}", r"c\.yaml: line 2, column 3: a number with too many digits$"),
        ("c.toml", "a = '\udce9'", r"c\.toml: line 1, column 6: not UTF-8 \(byte 0xe9\)$"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        load_serve({}, {}, write(tmp_path, name, text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_sets_nothing(text: str, tmp_path: Path) -> None:
    assert load_serve({}, {}, write(tmp_path, "c.yaml", text)) == load_serve({}, {})


@pytest.mark.parametrize("name", ["settings", "c.json"])
def test_a_file_that_is_not_there_is_told_before_the_ending_of_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}: No such file or directory$"):
        load_serve({}, {}, tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: No such file or directory"):
        load_serve({}, {}, tmp_path / "missing.toml")


def test_an_environment_variable_that_is_not_valid_is_named() -> None:
    with pytest.raises(SettingsError, match="RUNS_GATEWAY_COMPONENTS: expected a JSON object"):
        load_serve({}, {"RUNS_GATEWAY_COMPONENTS": "/a=http://b"})
    with pytest.raises(SettingsError, match=r"a JSON object: line 1, column 8: a number with too many digits$"):
        load_serve({}, {"RUNS_GATEWAY_COMPONENTS": f'{{"/a": {"9" * 9_000}}}'})
    assert load_serve({}, {"RUNS_GATEWAY_MAX_CALLS": " 7\n"}).max_calls == 7
    with pytest.raises(SettingsError, match=r"max_calls \(from RUNS_GATEWAY_MAX_CALLS\)"):
        load_serve({}, {"RUNS_GATEWAY_MAX_CALLS": "many"})


def test_a_map_in_the_environment_has_each_key_once() -> None:
    with pytest.raises(SettingsError, match=r"^RUNS_GATEWAY_COMPONENTS: .*: the key '/a' is given twice$"):
        load_serve({}, {"RUNS_GATEWAY_COMPONENTS": '{"/a": "http://b", "/a": "http://c"}'})


def test_variables_that_are_empty_are_not_set(tmp_path: Path) -> None:
    file = write(tmp_path, "c.toml", "max_calls = 7\n")
    environ = {setting.variable: "" for setting in settings_of(ServeSettings).values()}
    assert load_serve({}, environ, file) == load_serve({}, {}, file)


def test_a_transport_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_serve({"transport": "native"}, {}).transport == "native"
    monkeypatch.setattr("gateway.server.setting_forms.find_spec", lambda _: None)
    with pytest.raises(SettingsError) as caught:
        load_serve({}, {"RUNS_GATEWAY_TRANSPORT": "native"})
    assert str(caught.value) == (
        "transport (from RUNS_GATEWAY_TRANSPORT): native is not installed: pip install 'runs-gateway[native]'"
    )
    assert load_serve({}, {}).transport == "grpcio"


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        ("embedded", RuntimeKind.EMBEDDED),
        ("grpc://gateway:50051", RuntimeKind.RELAY),
        ("grpc://[::1]:1", RuntimeKind.RELAY),
        ("unix:/run/gateway.sock", RuntimeKind.RELAY),
        ("jsonrpc+http://runtime:8080", RuntimeKind.JSONRPC),
        ("jsonrpc+https://runtime:443/rpc/v1", RuntimeKind.JSONRPC),
        ("stepflow+http://[::1]:7840", RuntimeKind.STEPFLOW),
        ("stepflow+https://engine:443/", RuntimeKind.STEPFLOW),
        ("temporal://engine:7233/default", RuntimeKind.TEMPORAL),
        ("temporals://[::1]:7233/name.account", RuntimeKind.TEMPORAL),
    ],
)
def test_runtimes_that_are_accepted(runtime: str, kind: RuntimeKind) -> None:
    settings = load_serve({"runtime": runtime}, {})
    assert (settings.runtime, settings.runtime_kind) == (runtime, kind)


@pytest.mark.parametrize(
    "runtime",
    [
        "",
        "relay",
        "gateway:50051",
        "grpc",
        "grpc://",
        "grpc://gateway",
        "grpc://a:0",
        "grpc://a:1/b",
        "grpc://unix:/a",
        "unix:a",
        "http://a:1",
        "grpc+http://a:1",
        "embedded+http://a:1",
        "jsonrpc://a:1",
        "jsonrpc+http://a",
        "jsonrpc+http://user:secret@a:1",
        "stepflow+grpc://a:1",
        "stepflow+http://a:1/api",
        "temporal+http://a:1/bc",
        "temporal",
    ],
)
def test_runtimes_that_are_refused(runtime: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^runtime \(from --runtime\): expected embedded, grpc://HOST:PORT, grpcs:"
    ):
        load_serve({"runtime": runtime}, {})


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("a:1", "where the namespace has 2 to 255 letters"),
        ("a:1/x", "where the namespace has 2 to 255 letters"),
        ("a:1/b/c", "where the namespace has 2 to 255 letters"),
        ("a:0/bc", "got 'temporal://a:0/bc'"),
        ("a/bc", "got 'temporal://a/bc': the port is missing"),
    ],
)
def test_what_is_wrong_with_the_address_of_a_temporal_server_is_named(address: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_serve({"runtime": f"temporal://{address}"}, {})
    assert str(refused.value).startswith("runtime (from --runtime): expected temporal://HOST:PORT/NAMESPACE, ")
    assert words in str(refused.value)


@pytest.mark.parametrize("name", [name for name in ServeSettings.model_fields if name.endswith(("_bytes", "_memory"))])
def test_all_sizes_are_spelled_alike(name: str) -> None:
    assert getattr(load_serve({name: "64MiB"}, {}), name) == 64 << 20
    with pytest.raises(SettingsError, match="expected a number of bytes, or one with KiB, MiB, GiB or TiB"):
        load_serve({name: "64MB"}, {})


@pytest.mark.parametrize(
    ("name", "value", "runtime"),
    [
        ("state", ":memory:", "grpc://a:1"),
        ("components", {"/a": "http://b"}, "jsonrpc+http://a:1"),
        ("component_env", {"A": "b"}, "grpc://a:1"),
        ("dialect", "0.9", "embedded"),
        ("lossy_numbers", True, "jsonrpc+http://a:1"),
        ("max_depth", 3, "grpc://a:1"),
        ("state", ":memory:", "temporal://a:1/bc"),
        ("keep", 3.0, "temporal://a:1/bc"),
        ("queue", "q", "temporal://a:1/bc"),
        ("gateway_roles", "worker", "embedded"),
        ("payload_key", "/key", "stepflow+http://a:1"),
        ("max_descendants", 3, "stepflow+http://a:1"),
        ("run_timeout", 3, "grpc://a:1"),
    ],
)
def test_settings_that_a_runtime_does_not_have_are_refused(name: str, value: object, runtime: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_serve({name: value}, {"RUNS_GATEWAY_RUNTIME": runtime})
    flag = {"components": "component", "gateway_roles": "roles"}.get(name, name).replace("_", "-")
    assert str(raised.value) == (
        f"{name} (from --{flag}): a runtime of this kind does not have it: {runtime!r} (from RUNS_GATEWAY_RUNTIME)"
    )


def test_the_keys_for_a_runtime_elsewhere_have_a_file_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert load_serve({"runtime": "stepflow+http://a:1"}, {}).state == "/somewhere/runs-gateway/keys.db"


@pytest.mark.parametrize("name", ["grpc_address", "http_address"])
def test_workers_cannot_share_a_unix_socket(name: str) -> None:
    assert load_serve({name: "unix:/a"}, {}).workers == 1
    message = rf"^{name} \(from --.*\): workers share a port, .*from RUNS_GATEWAY_WORKERS"
    with pytest.raises(SettingsError, match=message):
        load_serve({name: "unix:/a"}, {"RUNS_GATEWAY_WORKERS": "2"})


@pytest.mark.parametrize("workers", [0, 65, "many"])
def test_numbers_of_workers_that_are_refused(workers: object) -> None:
    with pytest.raises(SettingsError, match=r"^workers \(from --workers\): expected "):
        load_serve({"workers": workers}, {})


@pytest.mark.parametrize("settings", [{"queue": "q"}, {"components": {"/a": "http://b"}}])
def test_a_queue_needs_component_servers_and_they_a_queue(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"^components and queue: .* give both, or none$"):
        load_serve({"runtime": "stepflow+http://a:1", **settings}, {})


BRIDGE = {"engine": "http://a:7840", "queue": "q", "components": {"/a": "http://b"}}


def test_a_bridge_takes_its_settings_from_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    file = write(tmp_path, "c.toml", 'queue = "file"\nmax_tasks = 3\n[components]\n"/a" = "http://file"\n')
    environ = {"RUNS_GATEWAY_ENGINE": "http://a:7840", "RUNS_GATEWAY_COMPONENTS": '{"/b": "http://env"}'}
    settings = load_bridge({"queue": "flag"}, environ, file)
    assert (settings.engine, settings.queue, settings.max_tasks) == ("http://a:7840", "flag", 3)
    assert settings.components == {"/a": "http://file", "/b": "http://env"}
    assert settings.state == "/somewhere/runs-gateway/bridge.db"


def test_a_bridge_is_a_gateway_with_that_runtime() -> None:
    settings = load_bridge(BRIDGE, {}).as_serve()
    assert (settings.runtime, settings.queue) == ("stepflow+http://a:7840", "q")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": None}, "engine: is needed; give --engine, or RUNS_GATEWAY_ENGINE"),
        ({"queue": None}, "queue: is needed; give --queue, or RUNS_GATEWAY_QUEUE"),
        ({"components": None}, "components: is needed; give --component, or RUNS_GATEWAY_COMPONENTS"),
        ({"engine": "a:7840"}, "engine (from --engine): expected http://HOST:PORT or https://HOST:PORT, got 'a:7840'"),
        (
            {"engine": "http://a"},
            "engine (from --engine): expected http://HOST:PORT or https://HOST:PORT, got 'http://a'",
        ),
        ({"max_tasks": 0}, "max_tasks (from --max-tasks): expected at least 1, got 0"),
    ],
)
def test_settings_that_a_bridge_cannot_use_are_refused(change: dict[str, object], message: str) -> None:
    flags = {name: value for name, value in {**BRIDGE, **change}.items() if value is not None}
    with pytest.raises(SettingsError) as refused:
        load_bridge(flags, {})
    assert str(refused.value) == message


def test_a_bridge_may_go_through_a_gateway_which_then_keeps_the_keys() -> None:
    settings = load_bridge({**BRIDGE, "gateway": "grpc://gateway:50051"}, {})
    assert settings.as_serve().runtime_kind is RuntimeKind.RELAY
    assert settings.engine == BRIDGE["engine"]
    with pytest.raises(SettingsError) as raised:
        load_bridge({**BRIDGE, "gateway": "grpc://gateway:50051", "state": "keys.db"}, {})
    assert str(raised.value) == (
        "state (from --state): the gateway keeps the idempotency keys (gateway from --gateway)"
    )
    message = r"^gateway \(from --gateway\): expected grpc://HOST:PORT, grpcs://HOST:PORT or unix:/PATH, got"
    with pytest.raises(SettingsError, match=message):
        load_bridge({**BRIDGE, "gateway": "stepflow+http://engine:7840"}, {})


def test_a_user_without_a_home_directory_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(SettingsError, match=r"^state: this user has no home directory to keep it in; give --state"):
        load_serve({}, {})


@pytest.mark.parametrize("home", ["", "relative/home", "."])
def test_a_home_that_is_no_absolute_path_is_none(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", "relative/state")
    with pytest.raises(SettingsError, match=r"^state: this user has no home directory to keep it in; give --state"):
        load_serve({}, {})
    with pytest.raises(SettingsError, match=r"there is no home directory ~, in '~/runs\.db'"):
        load_serve({"state": "~/runs.db"}, {})


def test_a_state_directory_that_is_relative_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/state")
    assert load_serve({}, {}).state == "/home/somebody/.local/state/runs-gateway/runs.db"
    assert load_serve({"state": ":memory:"}, {}).state == ":memory:"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RUNS_GATEWAY_MAX_CALS", "RUNS_GATEWAY_MAX_CALLS"),
        ("RUNS_GATEWAY_COMPONENT", "RUNS_GATEWAY_COMPONENTS"),
        ("RUNS_GATEWAY_ADDRESS", None),
        ("RUNS_GATEWAY_CONFIG", None),
        ("RUNS_GATEWAY_PORT", None),
        ("RUNS_GATEWAY_SERVICE_PORT_GRPC", None),
        ("RUNS_GATEWAY_PORT_50051_TCP_ADDR", None),
        ("RUNS_GATEWAY_IMAGE", None),
    ],
)
def test_variables_that_look_like_mistyped_settings_are_named(variable: str, meant: str | None) -> None:
    lines = mistyped_variables(ServeSettings, {variable: "1"})
    assert lines == ([f"the variable {variable} is no setting; did you mean {meant}?"] if meant else [])


def test_a_list_comes_with_commas_from_the_environment_and_as_a_list_from_elsewhere(tmp_path: Path) -> None:
    expected = ("gateway.example", "[::2]")
    assert load_serve({}, {"RUNS_GATEWAY_ALLOW_HOSTS": "gateway.example, [::2],"}).allow_hosts == expected
    assert load_serve({"allow_hosts": list(expected)}, {}).allow_hosts == expected
    file = tmp_path / "settings.toml"
    file.write_text('allow_hosts = ["gateway.example", "[::2]"]')
    assert load_serve({}, {}, file).allow_hosts == expected
    for wrong in ("http://a", "a:80", "*", "a b"):
        with pytest.raises(SettingsError, match=r"^allow_hosts \(from --allow-host\): expected the name of a host"):
            load_serve({"allow_hosts": [wrong]}, {})


def test_origins_are_exact_or_any() -> None:
    expected = ("https://app.example", "http://localhost:5173")
    assert load_serve({}, {"RUNS_GATEWAY_ALLOW_ORIGINS": ",".join(expected)}).allow_origins == expected
    assert load_serve({"allow_origins": ["*"]}, {}).allow_origins == ("*",)
    for wrong in ("app.example", "https://app.example/", "https://*.example", "null"):
        with pytest.raises(SettingsError, match=r"^allow_origins \(from --allow-origin\): expected SCHEME://HOST"):
            load_serve({"allow_origins": [wrong]}, {})
    with pytest.raises(SettingsError, match="stands alone"):
        load_serve({"allow_origins": ["*", "https://app.example"]}, {})


def test_a_rule_of_retention_names_a_namespace_that_can_be(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[[retention]]\nnamespace = "Team A"\nkeep = "1h"\n')
    with pytest.raises(SettingsError, match="expected 1 to 63 of a-z"):
        load_serve({}, {}, file)


def test_rules_of_retention_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'keep = "90d"\nkeep_runs = 10_000\n[[retention]]\nstates = ["failed"]\nkeep = "forever"\n'
        '[[retention]]\nflow_label = "nightly*"\nlabels = {team = "a"}\nnamespace = "team-a"\nkeep = "1h30m"\n'
    )
    retention = retention_of(load_serve({}, {}, file))
    assert retention == Retention(
        (
            KeepRule(RunFilter(states=(RunState.FAILED,)), None),
            KeepRule(RunFilter(flow_label="nightly*", labels={"team": "a"}, namespace="team-a"), 5_400.0),
        ),
        keep=90 * 86_400.0,
        keep_runs=10_000,
        keep_blobs=7 * 86_400.0,
    )


@pytest.mark.parametrize(
    "rule",
    [
        'states = ["running"]\nkeep = 1',
        'keep = "soon"',
        'state = ["failed"]\nkeep = 1',
        'states = ["failed"]',
        "keep = 0",
    ],
)
def test_rules_of_retention_that_are_wrong_are_refused(rule: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[[retention]]\n{rule}\n")
    with pytest.raises(SettingsError, match=r"^retention\.0"):
        load_serve({}, {}, file)


def test_limits_of_callers_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        '[[limits]]\nidentities = ["team-a", "batch-*"]\nrequests_per_second = 2.5\nmax_memory = "64MiB"\n'
        "[[limits]]\nmax_calls = 7\nitems_per_minute = 1_000\n[limits_in_all]\nmax_streams = 9\n"
    )
    settings = load_serve({}, {}, file)
    assert settings.limit_rules == (
        LimitRule(("team-a", "batch-*"), requests_per_second=2.5, max_memory=64 << 20),
        LimitRule(max_calls=7, items_per_minute=1_000),
    )
    assert settings.limit_in_all == LimitRule(max_streams=9)
    assert ServeSettings.model_validate_json(settings.model_dump_json()).limit_rules == settings.limit_rules


@pytest.mark.parametrize(
    "rule", ["max_calls = 0", "requests_per_second = 0", 'identities = "a"', "calls = 1", 'max_memory = "much"']
)
def test_limits_of_callers_that_are_wrong_are_refused(rule: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"[[limits]]\n{rule}\n")
    with pytest.raises(SettingsError, match=r"^limits\.0"):
        load_serve({}, {}, file)


TEMPORAL = {"runtime": "temporal://a:1/bc", "blobs": "file:///srv/blobs"}


def test_a_gateway_on_a_temporal_server_has_the_settings_of_what_executes_here() -> None:
    settings = load_serve(
        {
            **TEMPORAL,
            "components": {"/a": "http://b"},
            "component_env": {"A": "b"},
            "execution_timeouts": {"/": 1.0},
            "blob_api_url": "http://c:1/api/v1/blobs",
            "transport_retries": 1,
            "max_flow_bytes": 1 << 20,
            "max_executing_items": 1,
            "max_depth": 1,
            "max_descendants": 1,
            "file_directories": "/tmp",
            "run_timeout": 1.0,
            "payload_key": "/key",
            "workers": 2,
        },
        {},
    )
    assert (settings.takes_calls, settings.executes, settings.payload_key) == (True, True, "/key")


@pytest.mark.parametrize(
    ("roles", "takes_calls", "executes"),
    [
        (["front"], True, False),
        (["worker"], False, True),
        (["worker", "front"], True, True),
        (["front,worker"], True, True),
        ("front, worker", True, True),
        ("worker,worker", False, True),
    ],
)
def test_a_gateway_has_one_role_or_both(roles: Any, *, takes_calls: bool, executes: bool) -> None:
    settings = load_serve({**TEMPORAL, "gateway_roles": roles}, {})
    assert (settings.takes_calls, settings.executes) == (takes_calls, executes)
    if isinstance(roles, str):
        assert load_serve(TEMPORAL, {"RUNS_GATEWAY_GATEWAY_ROLES": roles}) == settings


@pytest.mark.parametrize("roles", [[], [""], "", ["back"], ["front", "back"], "front;worker", [1], 1])
def test_other_roles_are_refused(roles: Any) -> None:
    with pytest.raises(SettingsError, match=r"^gateway_roles[.0]* \(from --roles\): "):
        load_serve({**TEMPORAL, "gateway_roles": roles}, {})


def test_workers_need_clients_to_serve() -> None:
    with pytest.raises(
        SettingsError, match=r"^workers \(from --workers\): they serve clients, and this gateway has none"
    ):
        load_serve({**TEMPORAL, "gateway_roles": ["worker"], "workers": 2}, {})
