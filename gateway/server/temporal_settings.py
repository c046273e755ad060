"""The settings that only a Temporal runtime has."""

from pydantic import BaseModel, Field

from gateway.server.setting_forms import BlobsUrl


class TemporalSettings(BaseModel):
    """How runs are executed on a Temporal server."""

    blobs: BlobsUrl | None = Field(
        default=None,
        description="The object storage that keeps blobs and long payloads for all gateways: `s3://BUCKET/PREFIX`, "
        "`gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, or a shared directory, `file:///DIRECTORY`. Credentials and "
        "endpoints come from the environment, in the variables of each (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`...).",
    )
