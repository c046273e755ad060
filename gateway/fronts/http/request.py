"""A request as the front works on it."""

from typing import TYPE_CHECKING

from aiohttp import HttpVersion, StreamReader, hdrs
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy, MultiMapping

from gateway.access.limits import UNLIMITED
from gateway.core.caller import ANYBODY

if TYPE_CHECKING:
    from gateway.fronts.http.connection import HttpConnection


class HttpRequest:
    """A request whose head has come. `content` is its body, which may still come."""

    __slots__ = (
        "_message",
        "_path",
        "begun",
        "call_bytes",
        "caller",
        "closes",
        "connection",
        "content",
        "cross_origin",
        "headers",
        "limit",
        "method",
        "route",
        "stalled",
        "status",
        "version",
    )

    def __init__(self, message: RawRequestMessage, content: StreamReader, connection: "HttpConnection") -> None:
        self._message = message
        self._path: str | None = None
        self.content = content
        self.connection = connection
        self.headers: CIMultiDictProxy[str] = message.headers
        self.method: str = message.method
        self.version: HttpVersion = message.version
        self.closes: bool = message.should_close
        """Whether the connection ends with the answer."""
        self.caller = ANYBODY
        """Who sends the request, when that has been found out."""
        self.limit = UNLIMITED
        """What counts the request for its caller."""
        self.begun = False
        """Whether something of the answer has been written."""
        self.cross_origin = b""
        """The headers of the answer that tell browsers which pages may read it."""
        self.route = ""
        """The route of a lane that serves the request, if one does."""
        self.stalled = False
        """Whether the body has not come in time, so that nobody knows whether the rest comes."""
        self.status = 0
        """The status of the answer, when it is written."""
        self.call_bytes: int | None = None
        """The bytes of the call of JSON-RPC in it, when it is known; 0 if there are several, in a batch."""

    @property
    def path(self) -> str:
        """The path, decoded, without the query."""
        if self._path is None:
            raw = self._message.path
            self._path = raw if raw == "/" else self._message.url.path
        return self._path

    @path.setter
    def path(self, path: str) -> None:
        self._path = path

    @property
    def query(self) -> MultiMapping[str]:
        """The query: the values of each name, which are empty if it has none."""
        return self._message.url.query

    @property
    def raw_query(self) -> str:
        """The query as it was written."""
        return self._message.url.raw_query_string

    @property
    def host(self) -> str | None:
        """The host that the request line names, or else the header; None if neither does."""
        url = self._message.url
        return url.host if url.absolute else self.headers.get(hdrs.HOST)

    @property
    def peer(self) -> str:
        """The address of the client, if it is still there: `HOST:PORT`, or "" over a unix socket."""
        transport = self.connection.transport
        name = None if transport is None else transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""

    @property
    def identity(self) -> str:
        """The name of the caller, or ""."""
        return self.caller.identity

    @property
    def content_length(self) -> int | None:
        """How long the body is, in bytes, if the head says so."""
        length = self.headers.get(hdrs.CONTENT_LENGTH)
        return None if length is None else int(length)

    @property
    def head_size(self) -> int:
        """About how many bytes the head is long."""
        return sum(len(name) + len(value) for name, value in self._message.raw_headers)

    @property
    def media_type(self) -> str:
        """The media type of the body, in lower case, or ""."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset of the body, in lower case, if it is declared."""
        for parameter in self.headers.get(hdrs.CONTENT_TYPE, "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip('"').lower()
        return None
