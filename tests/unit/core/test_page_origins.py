import pytest

from gateway.core.page_origins import is_origin

ORIGINS = [
    "https://app.example",
    "http://localhost:5173",
    "http://[::1]:3000",
    "capacitor://localhost",
    "https://a.b:1",
    "https://a.b:65535",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://12345678-1234-1234-1234-123456789abc",
    "tauri://localhost",
]
OTHERS = [
    "",
    "null",
    "*",
    "app.example",
    "https://app.example/",
    "https://App.example",
    "https://app.example:443",
    "http://app.example:80",
    "https://user@app.example",
    "https://*.example",
    "https://a.example https://b.example",
    "https://app.example\r\nX: y",
    "https://",
    "https://app.example:0",
    "https://app.example:0443",
    "https://app.example:65536",
    "https://app.example:99999",
    "ftp://app.example",
    "wss://app.example",
    "file://app.example",
]


@pytest.mark.parametrize("text", ORIGINS)
def test_what_browsers_write_is_an_origin(text: str) -> None:
    assert is_origin(text)


@pytest.mark.parametrize("text", OTHERS)
def test_what_no_browser_writes_is_none(text: str) -> None:
    assert not is_origin(text)
