"""Reads the numbers of a gateway from its metrics, over HTTP or a unix socket."""

import http.client
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

from gateway.cli.errors import UsageError
from gateway.cli.gateway_flags import GatewayFlags
from gateway.cli.lines import printable
from gateway.cli.unix_http import UnixConnection
from gateway.core.addresses import check_address, is_local
from gateway.core.token_file import TokenFile, TokenFileError

DEFAULT_METRICS_URL: Final = "http://127.0.0.1:9464/metrics"

OFF: Final = "off"

_SECONDS: Final = 2.0
"""How long a read may take without a byte."""

_LARGEST: Final = 16 << 20


class MetricsUnreadable(Exception):
    """There are no numbers now. The message is short, for people."""


class Scrape:
    """The samples of one read, by their names."""

    def __init__(self, text: str, moment: float) -> None:
        """Parse the text format of Prometheus. Raises MetricsUnreadable if it is none."""
        from prometheus_client.parser import text_string_to_metric_families

        self.moment = moment
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        except (ValueError, KeyError, IndexError, TypeError):
            raise MetricsUnreadable("what is there is not metrics") from None

    def each(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values of the samples that have these labels."""
        found = self._samples.get(name, ())
        return [sample for sample in found if labels.items() <= sample[0].items()]

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of these samples; None if there are none."""
        found = self.each(name, **labels)
        return sum(value for _, value in found) if found else None


class MetricsSource:
    """Where metrics are read: `http://HOST:PORT/PATH`, `https://...` or `unix:/PATH`."""

    def __init__(self, url: str, flags: GatewayFlags) -> None:
        """Raises UsageError if the URL is not one that can be read, or the file of the token is of no use."""
        self.url = url
        self._flags = flags
        self._unix = url.removeprefix("unix:") if url.startswith("unix:/") else None
        try:
            parts = urlsplit("http://localhost/metrics" if self._unix else url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
                raise ValueError("expected http://HOST:PORT/PATH, https://HOST:PORT/PATH, unix:/PATH or off")
            self._tls = parts.scheme == "https"
            self._host, self._port = parts.hostname, parts.port or (443 if self._tls else 80)
            check_address(f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}")
        except ValueError as error:
            raise UsageError(f"--metrics-url: {error}, got {url!r}") from None
        self._path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
        self._token = self._token_of(flags)

    def read(self) -> Scrape:
        """Read all numbers. Raises MetricsUnreadable if that fails."""
        connection = self._connection()
        try:
            connection.request("GET", self._path, headers=self._headers())
            with connection.getresponse() as response:
                if response.status != 200:
                    raise MetricsUnreadable(f"the answer is {response.status} {printable(response.reason)}".rstrip())
                body = response.read(_LARGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise MetricsUnreadable(_words(error)) from None
        finally:
            connection.close()
        if len(body) > _LARGEST:
            raise MetricsUnreadable("the answer is too long")
        return Scrape(body.decode(errors="replace"), time.monotonic())

    def _connection(self) -> http.client.HTTPConnection:
        if self._unix is not None:
            return UnixConnection(self._unix, _SECONDS)
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)
        try:
            context = ssl.create_default_context(cafile=self._flags.tls_ca)
            if self._flags.tls_cert is not None:
                context.load_cert_chain(self._flags.tls_cert, self._flags.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise MetricsUnreadable(_words(error)) from None
        return http.client.HTTPSConnection(self._host, self._port, timeout=_SECONDS, context=context)

    def _token_of(self, flags: GatewayFlags) -> TokenFile | str | None:
        """The token to show; none where others could read it."""
        if not (self._tls or self._unix is not None or is_local(self.url) or flags.insecure):
            return None
        try:
            return f"Bearer {flags.token}" if flags.token else flags.token_file and TokenFile(flags.token_file)
        except TokenFileError as error:
            raise UsageError(str(error)) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "text/plain;version=0.0.4", "Connection": "close"}
        if self._token is not None:
            headers["Authorization"] = self._token if isinstance(self._token, str) else self._token.authorization
        return headers


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "what is there does not speak HTTP" if isinstance(error, http.client.HTTPException) else str(error)
