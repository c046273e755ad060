"""Settings of TLS: what has no meaning beside the others, and where a gateway may not listen without it."""

from pathlib import Path
from typing import Any

import pytest

from gateway.core.client_tls import ClientTls
from gateway.core.server_tls import ClientAuth, ServerTlsFiles
from gateway.server.settings import ServeSettings, SettingsError, StartError
from gateway.server.settings_sources import load_bridge, load_serve
from gateway.server.tls_checks import server_tls, upstream_credentials
from tests.support.certificates import Certificates, encrypt_key

CERT: Any = {"tls_cert": "/c", "tls_key": "/k"}
BRIDGE = {"queue": "q", "components": {"/": "http://127.0.0.1:1"}}
ALL = "0.0.0.0"


def settings(**values: Any) -> ServeSettings:
    return ServeSettings(**values)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tls_cert": "/c"}, "tls_cert (from --tls-cert): needs tls_key as well"),
        ({"tls_key": "/c"}, "tls_key (from --tls-key): needs tls_cert as well"),
        ({"tls_client_ca": "/c"}, "tls_client_ca (from --tls-client-ca): needs tls_cert as well"),
        ({"upstream_cert": "/c"}, "upstream_cert (from --upstream-cert): needs upstream_key as well"),
        (
            {**CERT, "tls_client_auth": "required"},
            "tls_client_auth (from --tls-client-auth): needs tls_client_ca as well",
        ),
        (
            {**CERT, "tls_client_ca": "/a", "tls_client_auth": "optional"},
            "tls_client_auth (from --tls-client-auth): grpcio either requires certificates of clients or asks for none:"
            " say required or none",
        ),
        (
            {**CERT, "transport": "native"},
            "tls_cert (from --tls-cert): the native transport has no TLS; leave --transport out, or let a proxy speak "
            "TLS (transport from --transport)",
        ),
        (
            {"grpc_address": f"{ALL}:1"},
            f"grpc_address (from --grpc-address): other machines reach {ALL}:1, and the gateway has no TLS (--tls-cert)"
            " and no identities (--tokens); give these, listen on a loopback address, or say --insecure",
        ),
        (
            {**CERT, "http_address": "[::]:1"},
            "http_address (from --http-address): other machines reach [::]:1, and the gateway has no identities "
            "(--tokens); give these, listen on a loopback address, or say --insecure",
        ),
        (
            {"runtime": "grpc://a.example:1", "upstream_token_file": "/t"},
            "upstream_token_file (from --upstream-token-file): a token is not sent to grpc://a.example:1 without TLS "
            "(runtime from --runtime)",
        ),
        (
            {"runtime": "temporal://a.example:1/default", "upstream_token_file": "/t"},
            "upstream_token_file (from --upstream-token-file): a token is not sent to temporal://a.example:1/default "
            "without TLS (runtime from --runtime)",
        ),
        (
            {"upstream_token_file": "/t"},
            "upstream_token_file (from --upstream-token-file): the embedded runtime takes no token",
        ),
    ],
)
def test_what_is_refused(flags: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_serve(flags, {})
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "flags",
    [
        {"grpc_address": f"{ALL}:1", "insecure": True},
        {**CERT, "grpc_address": f"{ALL}:1", "http_address": "gateway.example:1", "tokens": "/t"},
        {"grpc_address": "[::1]:1", "http_address": "localhost:1"},
        {"grpc_address": "unix:/a", "http_address": "127.8.8.8:1"},
        {**CERT, "tls_client_ca": "/a"},
        {**CERT, "tls_client_ca": "/a", "tls_client_auth": "none"},
        {"runtime": "grpcs://a.example:1", "upstream_token_file": "/t"},
        {"runtime": "jsonrpc+https://a.example:1/", "upstream_token_file": "/t"},
        {"runtime": "stepflow+https://a.example:1", "upstream_token_file": "/t"},
        {"runtime": "temporals://a.example:1/default", "upstream_token_file": "/t"},
        {"runtime": "temporal://127.0.0.1:1/default", "upstream_token_file": "/t"},
        {"runtime": "grpc://127.0.0.1:1", "upstream_token_file": "/t"},
        {"runtime": "unix:/a", "upstream_token_file": "/t"},
    ],
)
def test_what_is_taken(flags: dict[str, str]) -> None:
    load_serve(flags, {})


def test_bridges() -> None:
    engine = {**BRIDGE, "engine": "http://a.example:1"}
    load_bridge({**BRIDGE, "engine": "https://a.example:1", "upstream_token_file": "/t"}, {})
    load_bridge({**engine, **CERT, "tokens": "/t", "http_address": f"{ALL}:1"}, {})
    optional = load_bridge({**engine, **CERT, "tls_client_ca": "/a", "tls_client_auth": "optional"}, {})
    assert optional.server_tls_files == ServerTlsFiles("/c", "/k", "/a", ClientAuth.OPTIONAL)
    with pytest.raises(SettingsError, match=r"no TLS \(--tls-cert\) and no identities"):
        load_bridge({**engine, "http_address": f"{ALL}:1"}, {})
    with pytest.raises(SettingsError, match=r"not sent to http://a\.example:1 without TLS"):
        load_bridge({**engine, "upstream_token_file": "/t"}, {})


def test_certificates_of_clients_are_required_by_default_where_there_is_an_authority() -> None:
    assert settings(**CERT).server_tls_files == ServerTlsFiles("/c", "/k")
    files = settings(**CERT, tls_client_ca="/a").server_tls_files
    assert files == ServerTlsFiles("/c", "/k", "/a", ClientAuth.REQUIRED)
    assert settings().server_tls_files is None


def test_files_that_cannot_be_used_name_their_flag(tmp_path: Path) -> None:
    authority = Certificates(tmp_path)
    files, other = authority.server(), authority.server("other")
    token = tmp_path / "token"
    token.write_text("a b")
    good = {"tls_cert": files.cert, "tls_key": files.key}
    for flags, flag in (
        ({**good, "tls_cert": "/none"}, "--tls-cert"),
        ({**good, "tls_key": other.key}, "--tls-key"),
        ({**good, "tls_key": encrypt_key(files.key)}, "--tls-key"),
        ({**good, "tls_client_ca": files.key}, "--tls-client-ca"),
    ):
        with pytest.raises(StartError, match=rf"^[^\n]+ \({flag}\)$"):
            server_tls(settings(**flags))
    for flags, flag in (
        ({"upstream_ca": "/none"}, "--upstream-ca"),
        ({"upstream_cert": files.cert, "upstream_key": other.key}, "--upstream-key"),
        ({"upstream_token_file": str(token)}, "--upstream-token-file"),
    ):
        with pytest.raises(StartError, match=rf"^[^\n]+ \({flag}\)$"):
            upstream_credentials(settings(**flags))
    assert server_tls(settings(**good)) is not None
    assert server_tls(settings()) is None
    assert upstream_credentials(settings()) == (ClientTls(), None)
