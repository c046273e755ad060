"""A component server on the unmodified Stepflow SDK: 0.9, 0.10 or 0.11, whichever the interpreter has.

Every component takes and returns one JSON value.
"""

# mypy: ignore-errors
# The SDK is not installed where the tests are.

import argparse
import asyncio
import os
from pathlib import Path

import msgspec
from stepflow_py.worker import StepflowContext, StepflowServer

try:
    from stepflow_py.worker.blob_ref import BLOB_TYPE_FLOW as FLOW
except ImportError:  # 0.9
    from stepflow_py.worker.generated_protocol import BlobType

    FLOW = BlobType.flow

server = StepflowServer()


@server.component
def double(value: dict) -> dict:
    return {"doubled": value["n"] * 2}


@server.component
async def echo(value: object) -> object:
    return value


@server.component
def fail(value: dict) -> dict:
    raise ValueError(value.get("message", "asked to fail"))


@server.component
def crash(value: dict) -> dict:
    os._exit(value.get("status", 1))


@server.component
async def crash_once(value: dict, context: StepflowContext) -> dict:
    """End the process, unless the file `marker` is there: the second time it is."""
    marker = Path(value["marker"])
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return {"attempt": context.attempt}


@server.component
async def process(value: dict) -> dict:
    """Which process executes."""
    return {"pid": os.getpid()}


@server.component
async def record(value: dict) -> dict:
    """Add a line to a file."""
    with Path(value["file"]).open("a", encoding="utf-8") as file:
        file.write(value["line"] + "\n")
    return {"recorded": value["line"]}


@server.component
async def hold(value: dict) -> dict:
    """Connect to a port, and return when the other side closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", value["port"])
    await reader.read()
    writer.close()
    return {"held": True}


@server.component
async def hang(value: dict) -> dict:
    await asyncio.Event().wait()
    return {}


@server.component
async def environment(value: dict) -> dict:
    return dict(os.environ)


@server.component
async def task(value: dict, context: StepflowContext) -> dict:
    """What the component is told about its task."""
    return {
        "attempt": context.attempt,
        "run_id": context.run_id,
        "flow_id": context.flow_id,
        "step_id": context.step_id,
    }


@server.component(name="wild/{*path}")
async def wild(value: dict, path: str) -> dict:
    """A component with a parameter in its path, which the SDK does not list."""
    return {"path": path}


@server.component
async def blobs(value: dict, context: StepflowContext) -> dict:
    """Store a blob and read it again."""
    blob_id = await context.put_blob(value["data"])
    return {"blob_id": blob_id, "data": await context.get_blob(blob_id)}


@server.component
async def orchestrator(value: dict, context: StepflowContext) -> dict:
    """Store a sub-workflow, run it on all items, wait for the results."""
    flow_id = await context.put_blob(value["flow"], FLOW)
    run = await context.submit_run_by_id(flow_id, value["items"], wait=True, max_concurrency=5)
    return {"status": run.status, "results": outcomes(run)}


@server.component
async def batch_processor(value: dict, context: StepflowContext) -> dict:
    """Run a stored workflow on a batch and count what succeeded."""
    run = await context.submit_run_by_id(value["flow_id"], value["items"], wait=True, max_concurrency=10)
    return {"processed": run.items.completed, "failed": run.items.failed, "results": outcomes(run)}


@server.component
async def async_processor(value: dict, context: StepflowContext) -> dict:
    """Submit without waiting, do other work, then ask for the results."""
    submitted = await context.submit_run_by_id(value["flow_id"], [value["data"]], wait=False)
    await asyncio.sleep(0)
    run = await context.get_run(submitted.runId, wait=True, include_results=True)
    return {"same_run": run.runId == submitted.runId, "status": run.status, "results": outcomes(run)}


@server.component
async def at_once(value: dict, context: StepflowContext) -> dict:
    """Submit one run for each item, all at once."""
    runs = await asyncio.gather(
        *(context.submit_run_by_id(value["flow_id"], [item], wait=True) for item in value["items"])
    )
    return {"results": [outcome for run in runs for outcome in outcomes(run)]}


@server.component
async def submit_and_hold(value: dict, context: StepflowContext) -> dict:
    """Submit a run, then wait as `hold` does; which run that was."""
    run = await context.submit_run_by_id(value["flow_id"], [{}], wait=True)
    await hold(value)
    return {"run_id": run.runId}


@server.component
async def nest(value: dict, context: StepflowContext) -> dict:
    """Run a sub-workflow whose only step is this component again, until `depth` is 0."""
    depth, component = value["depth"], value["component"]
    if depth == 0:
        return {"depth": 0}
    step = {"id": "inner", "component": component, "input": {"depth": depth - 1, "component": component}}
    flow_id = await context.put_blob({"steps": [step], "output": {"$step": "inner"}}, FLOW)
    run = await context.submit_run_by_id(flow_id, [{}], wait=True)
    return {"depth": depth, "inner": outcomes(run)[0]}


def outcomes(run) -> list:
    """The outcome of each item, as it came."""
    return [msgspec.to_builtins(item.result) for item in run.results]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(server.run(port=parser.parse_args().port))


if __name__ == "__main__":
    main()
