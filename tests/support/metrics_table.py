"""The tables of docs/metrics.md: all metrics, and their labels. `python -m tests.support.metrics_table` writes them."""

import importlib
import pkgutil
from pathlib import Path
from typing import Final, get_args

from gateway import telemetry
from gateway.access.refusals import TokenFault
from gateway.components.executions import ExecutionOutcome
from gateway.concurrency.memory_account import MEMORY_USES
from gateway.core.upstream_calls import UpstreamOutcome
from gateway.storage.object_calls import ObjectOperation
from gateway.telemetry.metrics import MetricFamily, families
from tests.support.tables import markdown_table, write_table

DOCUMENT: Final = Path(__file__).parents[2] / "docs/metrics.md"
TARGET: Final = "metrics-table"


def _values(*values: str) -> str:
    return ", ".join(f"`{value}`" for value in values)


LABEL_VALUES: Final = {
    "direction": _values("read", "written"),
    "front": _values("grpc", "http"),
    "grpc_code": "`OK`, `NotFound`, `ResourceExhausted`, ...: the statuses of gRPC",
    "grpc_method": "the methods of the contract, of health and of reflection; others together",
    "grpc_service": "the services of the contract, of health and of reflection; others together",
    "grpc_type": _values("unary", "client_stream", "server_stream", "bidi_stream"),
    "jsonrpc_code": "`ok`, `canceled`, or the code of the error; those of other servers are `other`",
    "jsonrpc_method": "the methods of JSON-RPC, or `unknown`",
    "kind": "`status` and `results`: who follows a run, without and with its results; `set`: who follows a set",
    "method": "the methods that stream, `runs.v1.RunsService/GetRun` or `runs/get`",
    "operation": _values(*get_args(ObjectOperation)),
    "origin": _values("client", "component"),
    "outcome": (
        f"of executions {_values(*get_args(ExecutionOutcome))}; of upstream calls and of calls on object storage"
        f" {_values(*get_args(UpstreamOutcome))}; `error` is an answer, `unavailable` none"
    ),
    "path": "`/`, `/api/v1/blobs`, `/health`, `/ui`, `/runs.v1.RunsService/GetRun`, ...: what is served, or `other`",
    "prefix": "the prefixes that `--component` names",
    "process": "`gateway` or `bridge`, and `worker-1`, `worker-2`, ...",
    "reason": (
        f"of tokens {_values(*get_args(TokenFault))}; of refusals the reason of the error: `OVERLOADED`,"
        " `QUOTA_EXCEEDED`, `PAYLOAD_TOO_LARGE`, `UNAVAILABLE`, `STATE_UNAVAILABLE`, `PERMISSION_DENIED`, ..."
    ),
    "request": "`long`: requests that wait for tasks or for the end of a run; `short`: all others",
    "result": "of polls `task`, `none`; of lookups `hit`, `miss`",
    "runtime": _values("embedded", "relay", "jsonrpc", "stepflow", "temporal"),
    "state": _values("success", "failed", "cancelled"),
    "status": "the HTTP status; 499 if the client left before",
    "storage": _values("s3", "gs", "az", "file"),
    "task": "`workflow`: a step of the workflow of a run; `activity`: a chunk of items, and what runs need besides",
    "use": _values(*MEMORY_USES),
    "version": "the version of the package",
}
"""The values that each label may have: a closed set, of which no client can make more."""


def registry() -> list[MetricFamily]:
    """All metrics that a gateway may have, by name."""
    for module in pkgutil.iter_modules(telemetry.__path__, "gateway.telemetry."):
        importlib.import_module(module.name)
    return sorted(families(), key=lambda family: family.name)


def metrics_table() -> str:
    """All metrics, in Markdown."""
    rows = [
        (f"`{family.name}`", family.kind, _values(*family.labels), family.help.replace("|", "\\|"))
        for family in registry()
    ]
    return markdown_table(("metric", "kind", "labels", "meaning"), rows)


def labels_table() -> str:
    """The labels, in Markdown."""
    names = sorted({label for family in registry() for label in family.labels})
    return markdown_table(("label", "values"), [(f"`{name}`", LABEL_VALUES[name]) for name in names])


def tables() -> str:
    """Both, with the headline between them."""
    return f"{metrics_table()}\n## Labels\n\n{labels_table()}"


def main() -> None:
    """Write the tables into the document."""
    write_table(DOCUMENT, TARGET, tables())


if __name__ == "__main__":
    main()
