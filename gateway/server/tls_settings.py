"""The settings of TLS: of the ports, and of what the gateway calls itself."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from gateway.core.client_tls import ClientTls
from gateway.core.server_tls import ClientAuth, ServerTlsFiles
from gateway.server.setting_forms import DefaultText, FilePath, FlagValue, Truth

PemFile = Annotated[FilePath, FlagValue("FILE")]


class TlsSettings(BaseModel):
    """The settings of TLS that gateways and bridges have in common."""

    tls_cert: PemFile | None = Field(
        default=None,
        description="The certificate of the gateway, with its chain, in PEM: gRPC and HTTP are then served over TLS, "
        "except on unix sockets. Files of TLS are read anew when they change.",
    )
    tls_key: PemFile | None = Field(
        default=None,
        description="The private key of `tls_cert`, in PEM and without a password.",
    )
    tls_client_ca: PemFile | None = Field(
        default=None,
        description="The authorities, in PEM, whose certificates clients may show.",
    )
    tls_client_auth: Annotated[
        Literal["none", "optional", "required"] | None, DefaultText("`required` with `tls_client_ca`, else `none`")
    ] = Field(
        default=None,
        description="Whether clients show certificates: `none`, `optional` or `required`. grpcio has no `optional`: it "
        "is for bridges, which serve HTTP alone.",
    )
    insecure: Truth = Field(
        default=False,
        description="Let other machines reach a gateway that has no identities or no TLS. By default such a gateway "
        "listens on loopback addresses and unix sockets only.",
    )
    upstream_ca: PemFile | None = Field(
        default=None,
        description="The authorities, in PEM, that have signed the certificates of what the gateway calls over TLS: "
        "its runtime, engine, and component servers. Those of the system by default.",
    )
    upstream_cert: PemFile | None = Field(
        default=None,
        description="The certificate that the gateway shows to them, with its chain, in PEM.",
    )
    upstream_key: PemFile | None = Field(
        default=None,
        description="The private key of `upstream_cert`, in PEM and without a password.",
    )
    upstream_token_file: PemFile | None = Field(
        default=None,
        description="A file with a token that is sent to the runtime or engine as `authorization: Bearer`: over TLS, "
        "and without it only to loopback addresses and unix sockets. It is read anew when it changes.",
    )

    @property
    def server_tls_files(self) -> ServerTlsFiles | None:
        """The files of the ports, if they speak TLS."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        default = ClientAuth.NONE if self.tls_client_ca is None else ClientAuth.REQUIRED
        auth = default if self.tls_client_auth is None else ClientAuth(self.tls_client_auth)
        return ServerTlsFiles(self.tls_cert, self.tls_key, self.tls_client_ca, auth)

    @property
    def client_tls(self) -> ClientTls:
        """What is trusted, and shown, where the gateway is a client of TLS."""
        return ClientTls(self.upstream_ca, self.upstream_cert, self.upstream_key)
