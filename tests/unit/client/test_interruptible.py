"""Ctrl-C at many moments of a program that uses the blocking client: KeyboardInterrupt is raised, and nothing hangs."""

import subprocess
import sys

PROGRAM = """
import faulthandler, gc, signal, sys, threading
from contextlib import closing
from gateway.testing import in_memory_gateway

faulthandler.dump_traceback_later(100, exit=True)
opened = threading.Event()

def wait(_):
    opened.wait()

FILES = ("/grpc/_channel.py", "/grpc/_common.py", "/threading.py")

def traced(moment):
    left = moment

    def trace(frame, event, _):
        nonlocal left
        # Where something returns, the interpreter looks for signals: also where a condition has just been taken.
        if event == "return" and frame.f_code.co_filename.endswith(FILES):
            left -= 1
            if left == 0:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace

with in_memory_gateway({{"/test/wait": wait}}) as gateway:
    steps = [{{"id": "s", "component": "/test/wait", "input": 1}}]
    with gateway.client() as client:
        run = client.submit(client.put_flow({{"steps": steps, "output": 1}}), [1]).run_id
    for moment in {moments}:
        try:
            with gateway.client() as client, closing(client.watch(run, heartbeat_interval=0.1)) as updates:
                next(updates)
                gc.collect()  # An exception in a finalizer of what the round before left would be lost.
                gc.disable()
                sys.settrace(traced(moment))
                next(updates)
        except KeyboardInterrupt:
            print("interrupted")
        finally:
            sys.settrace(None)
            gc.enable()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    opened.set()
"""


def test_an_interrupt_at_any_moment_of_a_watch_ends_it() -> None:
    moments = [*range(1, 18)]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(moments=moments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "interrupted\n" * len(moments)
