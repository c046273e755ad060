"""What settings of TLS need beside them, and where a gateway may listen without it."""

from collections.abc import Mapping
from typing import Final

from gateway.core.addresses import is_local
from gateway.core.server_tls import ServerTls
from gateway.core.tls_files import TlsFileError
from gateway.core.token_file import TokenFile, TokenFileError
from gateway.core.upstream_credentials import UpstreamCredentials
from gateway.server.settings import BridgeSettings, ServeSettings, SettingsError, StartError
from gateway.server.telemetry_settings import OFF
from gateway.server.tls_settings import TlsSettings

_NEEDS: Final = {
    "tls_cert": "tls_key",
    "tls_key": "tls_cert",
    "tls_client_ca": "tls_cert",
    "upstream_cert": "upstream_key",
    "upstream_key": "upstream_cert",
}
"""What each setting is of no use without."""

_SERVER_FLAGS: Final = {"cert": "--tls-cert", "key": "--tls-key", "ca": "--tls-client-ca"}
_CLIENT_FLAGS: Final = {"cert": "--upstream-cert", "key": "--upstream-key", "ca": "--upstream-ca"}


def check_tls(settings: ServeSettings | BridgeSettings, origins: Mapping[str, str]) -> None:
    """Raise SettingsError if a setting of TLS has no meaning beside the others, or if the gateway would be exposed."""
    for name, other in _NEEDS.items():
        if getattr(settings, name) is not None and getattr(settings, other) is None:
            raise SettingsError(f"{name} (from {_origin(origins, name)}): needs {other} as well")
    _check_client_auth(settings, origins)
    if isinstance(settings, ServeSettings):
        if settings.tls_cert is not None and settings.transport == "native":
            raise SettingsError(
                f"tls_cert (from {_origin(origins, 'tls_cert')}): the native transport has no TLS; leave --transport "
                f"out, or let a proxy speak TLS (transport from {_origin(origins, 'transport')})"
            )
        _check_exposed(settings, "grpc_address", settings.grpc_address, origins)
        _check_token(settings, "runtime", settings.runtime, origins)
    else:
        _check_token(settings, "gateway", settings.gateway or settings.engine, origins)
    _check_exposed(settings, "http_address", settings.http_address, origins)
    if settings.metrics_address != OFF:
        _check_exposed(settings, "metrics_address", settings.metrics_address, origins)


def _check_client_auth(settings: TlsSettings, origins: Mapping[str, str]) -> None:
    auth = settings.tls_client_auth
    where = f"tls_client_auth (from {_origin(origins, 'tls_client_auth')})"
    if auth in ("optional", "required") and settings.tls_client_ca is None:
        raise SettingsError(f"{where}: needs tls_client_ca as well")
    if auth == "optional" and isinstance(settings, ServeSettings):
        raise SettingsError(
            f"{where}: grpcio either requires certificates of clients or asks for none: say required or none"
        )


def _check_exposed(
    settings: ServeSettings | BridgeSettings, name: str, address: str, origins: Mapping[str, str]
) -> None:
    if settings.insecure or is_local(address):
        return
    missing = [] if settings.tls_cert is not None else ["TLS (--tls-cert)"]
    if not settings.has_identities:
        missing.append("identities (--tokens)")
    if missing:
        raise SettingsError(
            f"{name} (from {_origin(origins, name)}): other machines reach {address}, and the gateway has no "
            f"{' and no '.join(missing)}; give these, listen on a loopback address, or say --insecure"
        )


def _check_token(settings: TlsSettings, name: str, address: str, origins: Mapping[str, str]) -> None:
    if settings.upstream_token_file is None or is_encrypted(address) or is_local(address):
        return
    where = f"upstream_token_file (from {_origin(origins, 'upstream_token_file')})"
    if address == "embedded":
        raise SettingsError(f"{where}: the embedded runtime takes no token")
    raise SettingsError(f"{where}: a token is not sent to {address} without TLS ({name} from {_origin(origins, name)})")


def is_encrypted(address: str) -> bool:
    """Whether an upstream is reached over TLS."""
    scheme = address.partition("://")[0]
    return scheme in ("grpcs", "temporals") or scheme.rpartition("+")[2] == "https"


def _origin(origins: Mapping[str, str], name: str) -> str:
    return origins.get(name, "its default")


def server_tls(settings: TlsSettings) -> ServerTls | None:
    """TLS of the ports, if they speak it. Raises StartError if a file cannot be used."""
    files = settings.server_tls_files
    try:
        return None if files is None else ServerTls(files)
    except TlsFileError as error:
        raise StartError(f"{error} ({_SERVER_FLAGS[error.role]})") from None


def upstream_credentials(settings: TlsSettings) -> UpstreamCredentials:
    """What the gateway shows and trusts where it is a client. Raises StartError if a file cannot be used."""
    tls = settings.client_tls
    try:
        tls.context()
        token = None if settings.upstream_token_file is None else TokenFile(settings.upstream_token_file)
    except TlsFileError as error:
        raise StartError(f"{error} ({_CLIENT_FLAGS[error.role]})") from None
    except TokenFileError as error:
        raise StartError(f"{error} (--upstream-token-file)") from None
    return UpstreamCredentials(tls, token)
