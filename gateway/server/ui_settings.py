"""The settings of the live page."""

from pydantic import BaseModel, Field

from gateway.server.setting_forms import Truth


class UiSettings(BaseModel):
    """Whether there is a live page."""

    ui: Truth = Field(
        default=False,
        description="Serve a live page of runs and of the gateway at `/ui` of the HTTP address. What it shows needs a "
        "token where there are identities.",
    )
