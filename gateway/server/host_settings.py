"""The settings that say by which names the HTTP front is reached, and by which pages."""

from pydantic import BaseModel, Field

from gateway.server.setting_forms import HostNames, PageOrigins


class HostSettings(BaseModel):
    """Hosts that are served, and origins of pages in browsers."""

    allow_hosts: HostNames = Field(
        default=(),
        description="A host by which clients may reach the HTTP front, besides loopback names, and whose pages may "
        "call it. On addresses that other machines reach, any name is served unless one is given.",
    )
    allow_origins: PageOrigins = Field(
        default=(),
        description="An origin, `https://app.example`, whose pages may call the HTTP front from browsers (CORS); `*`, "
        "alone, lets pages of any site do so, without credentials of the browser.",
    )
