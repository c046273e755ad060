"""What probes are told."""

from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.http.limits import HttpLimits
from tests.support.http_front import RunningFront, running_front

PROBES = ("/livez", "/readyz", "/startupz")


async def told(front: RunningFront, path: str) -> tuple[int, str]:
    connection = await front.connect()
    answer = await connection.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()).answer()
    await connection.close()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.status, answer.body.decode()


async def test_probes_follow_the_start_the_runtime_and_the_stop() -> None:
    async with running_front(HttpLimits(), MemoryAccount()) as front:
        readiness = front.runtime.readiness

        async def statuses() -> list[int]:
            return [(await told(front, path))[0] for path in PROBES]

        assert await statuses() == [200, 503, 503]
        front.front.started()
        assert await statuses() == [200, 200, 200]
        assert await told(front, "/readyz") == (200, "ok")
        readiness.starting = "runs are counted"
        assert await statuses() == [200, 503, 503]
        readiness.starting = None
        readiness.report("the state cannot be written")
        assert await statuses() == [200, 503, 200]
        assert "[-]state failed: the state cannot be written" in (await told(front, "/readyz"))[1]
        readiness.report(None)
        readiness.upstream_is_away = lambda: True
        assert await statuses() == [200, 503, 200]
        readiness.upstream_is_away = bool
        await front.front.drain()
        assert await statuses() == [200, 503, 200]
        readiness.report_defect("the state contradicts itself")
        assert await statuses() == [503, 503, 200]


async def test_each_check_is_told_on_demand() -> None:
    async with running_front(HttpLimits(), MemoryAccount()) as front:
        front.front.started()
        assert await told(front, "/readyz?verbose") == (
            200,
            "[+]start ok\n[+]runs ok\n[+]state ok\n[+]upstream ok\n[+]shutdown ok\nreadyz check passed\n",
        )
