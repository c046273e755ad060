"""Origins of pages, as browsers write them: `https://app.example`, `http://localhost:5173`."""

import re
from typing import Final

ANY_ORIGIN: Final = "*"
"""Stands for all origins where some are allowed."""

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_USUAL_PORTS: Final = (("http://", ":80"), ("https://", ":443"))


def is_origin(text: str) -> bool:
    """Whether a text is one origin: in small letters, without a path, and without the usual port."""
    usual = any(text.startswith(scheme) and text.endswith(port) for scheme, port in _USUAL_PORTS)
    return not usual and _ORIGIN.fullmatch(text) is not None
