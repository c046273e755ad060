import subprocess
import sys

PROGRAM = """
import asyncio, logging, os, resource
from gateway.server.descriptor_watch import watched_descriptors

async def main():
    logging.basicConfig(format="%(levelname)s %(message)s")
    native = logging.getLogger("pygrpc_native.server")
    async with watched_descriptors(look=0.001, log=float(LOG)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        native.warning("gRPC accept failed: Too many open files (os error 24)")
        native.warning("something else")
        for _ in range(200):
            await asyncio.sleep(0.001)
        for descriptor in taken:
            os.close(descriptor)
    native.warning("Too many open files")

asyncio.run(main())
"""


def lines(log_seconds: float) -> list[str]:
    program = PROGRAM.replace("LOG", repr(log_seconds))
    return subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True
    ).stderr.splitlines()


def test_the_log_says_once_that_no_descriptor_is_left() -> None:
    news, exhausted, afterwards = lines(60)
    assert (news, afterwards) == ("WARNING something else", "WARNING Too many open files")
    assert exhausted.startswith("ERROR all 64 descriptors are in use")


def test_the_log_says_it_again_later() -> None:
    assert sum("descriptors are in use" in line for line in lines(0.001)) > 1
