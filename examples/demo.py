"""Shows the gateway at work: starts it, runs a flow over gRPC, asks for the same run over JSON-RPC, stops it."""

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
RUNS_GATEWAY = str(Path(sys.executable).with_name("runs-gateway"))


def main() -> None:
    """Run the demonstration. Raises CalledProcessError if one of its commands fails."""
    os.chdir(PROJECT)
    component_server = shlex.join([sys.executable, "examples/components_server.py"])
    with gateway("--component", f"/demo={component_server}") as addresses:
        os.environ["RUNS_GATEWAY_ADDRESS"] = addresses["grpc"]

        heading("Store a flow, over gRPC")
        flow_id = output("put", "examples/flow.yaml")

        heading("Submit a run of it: six albums, at most two at a time")
        run_id = output("submit", flow_id, "--inputs", "examples/inputs.json", "--max-concurrency", "2")

        heading("Follow the run until it has finished")
        command("watch", run_id)

        heading("Ask for the same run over JSON-RPC")
        params = {"runId": run_id, "includeResults": True, "resultOrder": "byCompletion"}
        request = {"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": params}
        print(f"POST {addresses['http']}/\n{json.dumps(request)}\n")
        answer = post(addresses["http"], request)
        results = answer["result"].pop("results")
        print(json.dumps(answer))
        for result in results:
            print("  result:", json.dumps(result["result"]["value"]))

        heading("Stop")


@contextmanager
def gateway(*arguments: str) -> Iterator[dict[str, str]]:
    """Run a gateway on free ports, with its state in memory, and yield the addresses of `grpc` and `http`."""
    heading("Start the gateway, with a component server that it starts itself")
    free = "127.0.0.1:0"
    addresses = ["--grpc-address", free, "--http-address", free, "--metrics-address", free, "--state", ":memory:"]
    call = [RUNS_GATEWAY, "serve", *addresses, *arguments, "--json"]
    show(call)
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit(process.wait() or 1)
            print(line, end="")
            yield json.loads(line)
        finally:
            process.terminate()
            status = process.wait()
    if status != 0:
        sys.exit(f"the gateway ended with status {status}")


def output(*arguments: str) -> str:
    """Run a command of the command line and return what it prints."""
    show([RUNS_GATEWAY, *arguments])
    text = subprocess.run([RUNS_GATEWAY, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    print(text)
    return text


def command(*arguments: str) -> None:
    """Run a command of the command line and let it print."""
    show([RUNS_GATEWAY, *arguments])
    subprocess.run([RUNS_GATEWAY, *arguments], check=True)


def post(url: str, request: dict[str, Any]) -> Any:
    """Call JSON-RPC and return the answer. Exits if it is an error."""
    call = urllib.request.Request(url, json.dumps(request).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(call, timeout=30) as response:
        answer = json.load(response)
    if "error" in answer:
        sys.exit(f"JSON-RPC answered with an error: {answer['error']}")
    return answer


def heading(text: str) -> None:
    """Print the heading of a step."""
    print(f"\n== {text}", flush=True)


def show(call: list[str]) -> None:
    """Print a command as a user would type it."""
    print("$", shlex.join([Path(call[0]).name, *call[1:]]), flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)
