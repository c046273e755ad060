"""The query of a GET, as Connect has it: each parameter once, in UTF-8."""

from urllib.parse import unquote_to_bytes

from gateway.core.errors import InvalidRequest
from gateway.fronts.http.request import HttpRequest


def parameter(request: HttpRequest, name: str) -> str | None:
    """The value of a parameter; None if it is not there. Raises InvalidRequest if it is there twice."""
    values = request.query.getall(name, ())
    if len(values) > 1:
        raise InvalidRequest(f"{name}: expected in the query, once")
    return values[0] if values else None


def check_utf8(request: HttpRequest) -> None:
    """Raises InvalidRequest if a query is not UTF-8: what is not would be replaced, and mean something else."""
    try:
        unquote_to_bytes(request.raw_query).decode()
    except UnicodeError:
        raise InvalidRequest("the query is not UTF-8") from None
