"""Which release of an engine is there, and what is none."""

from collections.abc import AsyncIterator

import pytest

from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import EngineError, release_from_health, release_of
from gateway.runtimes.stepflow.wire_format import WireFormat
from tests.support.engine_bodies import RELEASES, WIRE_FORMATS, recorded
from tests.support.engine_proxy import EngineProxy, Reply


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def engine(server: EngineProxy) -> AsyncIterator[EngineRestClient]:
    engine = EngineRestClient(server.url)
    yield engine
    await engine.close()


@pytest.mark.parametrize(
    ("health", "name", "wire_format"),
    [
        (b'{"status":"healthy","version":"0.10.0"}', "0.10.0", WireFormat.LEGACY),
        (b'{"status":"healthy","version":"0.11.2-rc.1"}', "0.11.2-rc.1", WireFormat.LEGACY),
        (b'{"status":"healthy","build":{"gitVersion":"dd82fa7"}}', "0.12 or 0.13", WireFormat.PROTO_JSON),
    ],
)
async def test_supported_releases(
    server: EngineProxy, engine: EngineRestClient, health: bytes, name: str, wire_format: WireFormat
) -> None:
    server.replies.append((200, health))
    release = await release_of(engine)
    assert (release.name, release.wire_format) == (name, wire_format)
    assert release.has_events is release.has_queues is (wire_format is WireFormat.PROTO_JSON)
    assert release.takes_empty_runs is (name != "0.10.0")


@pytest.mark.parametrize("version", ["0.9.0", "0.1.0", "0.14.0", "1.0.0", "soon"])
async def test_other_releases_are_refused(server: EngineProxy, engine: EngineRestClient, version: str) -> None:
    server.replies.append((200, f'{{"status":"healthy","version":"{version}"}}'.encode()))
    with pytest.raises(EngineError, match=rf"release {version}; run one of releases 0\.10 to 0\.13") as error:
        await release_of(engine)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "reply",
    [
        (404, b"nothing here"),
        (200, b""),
        (200, b"<html>welcome</html>"),
        (200, b'{"status":"ok"}'),
        (200, b'{"status":"healthy"}'),
        (200, b'{"status":"healthy","version":""}'),
        (200, b"[]"),
        (200, b"\xff"),
    ],
)
async def test_what_is_no_engine_is_refused(server: EngineProxy, engine: EngineRestClient, reply: Reply) -> None:
    server.replies.append(reply)
    with pytest.raises(EngineError, match=f"{server.url}.*: no Stepflow engine answers there"):
        await release_of(engine)


async def test_an_engine_that_is_not_there() -> None:
    server = EngineProxy()
    async with server.running():
        pass
    engine = EngineRestClient(server.url)
    with pytest.raises(EngineError, match="cannot be reached; start the engine"):
        await release_of(engine)
    await engine.close()


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_health(release: str) -> None:
    _, body = recorded(release, "GET /api/v1/health")[0]
    assert release_from_health(200, body) == (release if WIRE_FORMATS[release] is WireFormat.LEGACY else "")
    assert release_from_health(500, body) is None
