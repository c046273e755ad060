"""The flags of every command that talks to a gateway: where it is, and how the command shows itself."""

import os
from dataclasses import dataclass, fields
from typing import Annotated, Final, TypeAlias, get_type_hints

from cyclopts import Parameter

from gateway.cli.errors import UsageError
from gateway.cli.parameters import unless_empty
from gateway.core.addresses import DEFAULT_GRPC_ADDRESS, check_address
from gateway.core.errors import shortened
from gateway.core.owner import NAMESPACE_RULE, is_namespace

ADDRESS_VARIABLE: Final = "RUNS_GATEWAY_ADDRESS"
"""Where commands look for the gateway unless they are told otherwise."""

NAMESPACE_VARIABLE: Final = "RUNS_GATEWAY_NAMESPACE"

TOKEN_VARIABLE: Final = "RUNS_GATEWAY_TOKEN"
"""A token itself, for systems that hand out secrets so. No flag takes one: other users of the machine see flags."""

TLS_SCHEME: Final = "grpcs://"


@dataclass(frozen=True, kw_only=True)
class GatewayFlags:
    """The gateway, and the identity of the caller."""

    address: Annotated[
        str,
        Parameter(
            name="--address",
            env_var=ADDRESS_VARIABLE,
            env_var_split=unless_empty,
            help="The gRPC address: HOST:PORT, grpcs://HOST:PORT (over TLS) or unix:/PATH.",
        ),
    ] = DEFAULT_GRPC_ADDRESS
    tls_ca: Annotated[
        str | None,
        Parameter(
            name="--tls-ca",
            metavar="FILE",
            env_var="RUNS_GATEWAY_TLS_CA",
            env_var_split=unless_empty,
            help="The authorities that may have signed the gateway's certificate, in place of the system's. Turns TLS "
            "on.",
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        Parameter(
            name="--tls-cert",
            metavar="FILE",
            env_var="RUNS_GATEWAY_TLS_CLIENT_CERT",
            env_var_split=unless_empty,
            help="The certificate to show to the gateway. Turns TLS on.",
        ),
    ] = None
    tls_key: Annotated[
        str | None,
        Parameter(
            name="--tls-key",
            metavar="FILE",
            env_var="RUNS_GATEWAY_TLS_CLIENT_KEY",
            env_var_split=unless_empty,
            help="The key of --tls-cert, if that file does not have it.",
        ),
    ] = None
    token_file: Annotated[
        str | None,
        Parameter(
            name="--token-file",
            metavar="FILE",
            env_var="RUNS_GATEWAY_TOKEN_FILE",
            env_var_split=unless_empty,
            help=f"A file with the token to show. {TOKEN_VARIABLE} may have the token itself.",
        ),
    ] = None
    namespace: Annotated[
        str | None,
        Parameter(
            name="--namespace",
            metavar="NAME",
            env_var=NAMESPACE_VARIABLE,
            env_var_split=unless_empty,
            help="The namespace to work in, if the identity has several.",
        ),
    ] = None
    insecure: Annotated[
        bool,
        Parameter(name="--insecure", help="Send the token also where others may read it: without TLS, to elsewhere."),
    ] = False

    def checked(self, address_flag: str = "--address") -> "GatewayFlags":
        """The same. Raises UsageError if the address is not one, or the namespace cannot be one."""
        name = _named(ADDRESS_VARIABLE, address_flag, self.address)
        bare = self.address.removeprefix(TLS_SCHEME)
        try:
            check_address(bare)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        if bare.endswith(":0"):
            raise UsageError(f"{name}: nothing can be reached at port 0, got {self.address!r}")
        if self.namespace is not None and not is_namespace(self.namespace):
            name = _named(NAMESPACE_VARIABLE, "--namespace", self.namespace)
            raise UsageError(f"{name}: expected {NAMESPACE_RULE}, got {shortened(self.namespace)!r}")
        return self

    def given(self) -> list[str]:
        """The names of the flags that say something else than the environment and the defaults do."""
        parameters = {
            name: hint.__metadata__[0] for name, hint in get_type_hints(type(self), include_extras=True).items()
        }
        return [
            parameters[field.name].name[0]
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
            and value not in {os.environ.get(variable) for variable in parameters[field.name].env_var or ()}
        ]

    @property
    def token(self) -> str | None:
        """The token in the environment, if no file has one."""
        return (os.environ.get(TOKEN_VARIABLE) or None) if self.token_file is None else None


def _named(variable: str, flag: str, value: str) -> str:
    """Where a value comes from: the environment, or a flag."""
    return variable if value == os.environ.get(variable) else flag


Gateway: TypeAlias = Annotated[GatewayFlags | None, Parameter(name="*")]
"""The flags of a command that talks to a gateway; None if none of them is given."""
