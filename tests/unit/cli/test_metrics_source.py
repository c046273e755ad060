"""Where figures come from: addresses, tokens, and what is said when nothing can be read."""

import socket
from pathlib import Path

import pytest

from gateway.cli.errors import UsageError
from gateway.cli.gateway_flags import GatewayFlags
from gateway.cli.metrics_source import MetricsSource, MetricsUnreadable
from tests.support.metrics_page import metrics_page


def test_a_page_is_read_over_tcp_and_over_a_unix_socket(tmp_path: Path) -> None:
    for unix in (None, tmp_path / "metrics"):
        with metrics_page("a_total 1\n", unix) as page:
            assert MetricsSource(page.url, GatewayFlags()).read().total("a_total") == 1
            assert page.heads[0]["path"] == "/metrics"
            assert "authorization" not in page.heads[0]


def test_a_token_is_shown_where_nobody_else_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n", encoding="utf-8")
    with metrics_page("") as page:
        MetricsSource(page.url, GatewayFlags(token_file=str(file))).read()
        monkeypatch.setenv("RUNS_GATEWAY_TOKEN", "other")
        MetricsSource(page.url, GatewayFlags()).read()
        assert [head["authorization"] for head in page.heads] == ["Bearer secret", "Bearer other"]
    elsewhere = "http://192.0.2.1:1/metrics"
    assert "Authorization" not in MetricsSource(elsewhere, GatewayFlags())._headers()
    assert "Authorization" in MetricsSource(elsewhere, GatewayFlags(insecure=True))._headers()
    with pytest.raises(UsageError, match="the token file /dev/null"):
        MetricsSource("https://example.org/metrics", GatewayFlags(token_file="/dev/null"))


@pytest.mark.parametrize("url", ["127.0.0.1:9464", "ftp://h/", "http://", "http://u:p@h/", "http://h:x/", "unix:a", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--metrics-url: "):
        MetricsSource(url, GatewayFlags())


def test_what_cannot_be_read_is_told_in_a_few_words(tmp_path: Path) -> None:
    def words(url: str) -> str:
        with pytest.raises(MetricsUnreadable) as raised:
            MetricsSource(url, GatewayFlags()).read()
        return str(raised.value)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert words(f"http://127.0.0.1:{port}") == "connection refused"
    assert words(f"unix:{tmp_path}/none") == "no such file or directory"
    with metrics_page("<html>") as page:
        assert words(page.url) == "what is there is not metrics"
        page.status = 403
        assert words(page.url) == "the answer is 403 Forbidden"
        assert "ssl" in words(page.url.replace("http:", "https:")).lower()
        with pytest.raises(MetricsUnreadable, match="no such file"):
            MetricsSource("https://127.0.0.1:1/", GatewayFlags(tls_ca="/nowhere")).read()
