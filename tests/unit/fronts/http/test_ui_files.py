"""The files of the live page, as they are served."""

import gzip
import re

import pytest

from tests.support.http_front import Answer, RunningFront, running_front


async def got(front: RunningFront, path: str, *headers: str, method: str = "GET") -> Answer:
    connection = await front.connect()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    connection.send("\r\n".join([*lines, "", ""]).encode())
    if method == "GET" and not any(header.startswith("If-None-Match") for header in headers):
        answer = await connection.answer()
    else:
        answer = Answer(*await connection.head(), b"")
    await connection.close()
    return answer


async def test_without_the_setting_there_is_no_page() -> None:
    async with running_front() as front:
        assert (await got(front, "/ui")).status == 404


async def test_the_page_and_all_that_it_names_are_served() -> None:
    async with running_front(ui=True) as front:
        page = await got(front, "/ui")
        assert page.status == 200
        named = re.findall(r'(?:href|src)="(ui/[^"]+)"', page.body.decode())
        assert "ui/main.js" in named
        seen: set[str] = set()
        while named:
            path = named.pop()
            if path in seen:
                continue
            seen.add(path)
            file = await got(front, f"/{path}")
            assert file.status == 200, path
            if path.endswith(".js"):
                assert file.headers["content-type"] == "text/javascript; charset=utf-8"
                named += [f"ui/{name}" for name in re.findall(r'from "\./([^"]+)"', file.body.decode())]


async def test_the_page_may_load_nothing_from_elsewhere_and_be_in_no_frame() -> None:
    async with running_front(ui=True) as front:
        headers = (await got(front, "/ui")).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("coding", ["", "Accept-Encoding: gzip"])
async def test_a_file_that_the_browser_has_is_not_sent_again(coding: str) -> None:
    async with running_front(ui=True) as front:
        first = await got(front, "/ui/main.js", *filter(None, [coding]))
        assert first.headers.get("content-encoding") == ("gzip" if coding else None)
        assert first.headers["vary"] == "Accept-Encoding"
        tag = f"If-None-Match: {first.headers['etag']}"
        again = await got(front, "/ui/main.js", *filter(None, [coding]), tag)
        assert (again.status, again.headers["etag"]) == (304, first.headers["etag"])
        if coding:
            assert gzip.decompress(first.body) == (await got(front, "/ui/main.js")).body


async def test_a_head_tells_the_length_alone() -> None:
    async with running_front(ui=True) as front:
        told = await got(front, "/ui", method="HEAD")
        assert int(told.headers["content-length"]) == len((await got(front, "/ui")).body)


async def test_the_page_has_one_address() -> None:
    async with running_front(ui=True) as front:
        moved = await got(front, "/ui/")
        assert (moved.status, moved.headers["location"]) == (308, "../ui")


async def test_the_files_are_served_to_hosts_that_are_served_and_to_nobody_else() -> None:
    async with running_front(ui=True) as front:
        connection = await front.connect()
        connection.send(b"GET /ui HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
        assert (await connection.answer()).status == 421


@pytest.mark.parametrize(
    "path", ["/ui/other.js", "/ui/../front.py", "/ui/%2e%2e/front.py", "/ui/ui/main.js", "/uiindex"]
)
async def test_there_is_nothing_else(path: str) -> None:
    async with running_front(ui=True) as front:
        assert (await got(front, path)).status == 404
