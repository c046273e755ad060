"""The settings that only a Temporal runtime has."""

from typing import Annotated

from pydantic import BaseModel, Field

from gateway.server.setting_forms import BlobsUrl, DefaultText, FilePath, FlagValue, GatewayRoles


class TemporalSettings(BaseModel):
    """How runs are executed on a Temporal server."""

    blobs: BlobsUrl | None = Field(
        default=None,
        description="The object storage that keeps blobs and long payloads for all gateways: `s3://BUCKET/PREFIX`, "
        "`gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, or a shared directory, `file:///DIRECTORY`. Credentials and "
        "endpoints come from the environment, in the variables of each (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`...).",
    )
    gateway_roles: Annotated[GatewayRoles, DefaultText("`front,worker`")] = Field(
        default=("front", "worker"),
        description="What this gateway does, of many on one engine: `front` takes calls of clients, `worker` executes "
        "runs. One that is no front still serves blobs to its component servers, health and metrics.",
    )
    payload_key: Annotated[FilePath, FlagValue("FILE")] | None = Field(
        default=None,
        description="A file with a key, 32 bytes in base64, with which all gateways over one engine encrypt inputs, "
        "results and blobs: neither the engine nor the object storage can read them. With several, one in a line, the "
        "first encrypts and all decrypt. It is read at the start only.",
    )

    @property
    def takes_calls(self) -> bool:
        """Whether this gateway takes calls of clients."""
        return "front" in self.gateway_roles

    @property
    def executes(self) -> bool:
        """Whether this gateway executes runs."""
        return "worker" in self.gateway_roles
