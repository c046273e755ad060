"""How runs are named in the engine and in the object storage, and the ids that idempotency keys make."""

import hashlib
import uuid
from typing import Final

from gateway.flows.run_owners import key_scope

_WORKFLOW_PREFIX: Final = "run-"


def workflow_id(run_id: str) -> str:
    """The id of the workflow of a run."""
    return f"{_WORKFLOW_PREFIX}{run_id}"


def run_id_of_workflow(workflow: str) -> str:
    """The id of the run of a workflow."""
    return workflow.removeprefix(_WORKFLOW_PREFIX)


def run_id_of_key(namespace: str, scope: str, key: str) -> str:
    """The id of the run that an idempotency key stands for: the same on all gateways, so the engine has it once."""
    digest = hashlib.sha256(f"{key_scope(namespace, scope)}\0{key}".encode()).digest()
    # Version 8 of RFC 9562, made of what one likes; older Pythons do not know it.
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF000 << 64) | 0x8000 << 64
    return str(uuid.UUID(int=number & ~(0xC000 << 48) | 0x8000 << 48))


def folder(run_id: str) -> str:
    """Where the objects of a run are. Folders of two digits spread them: many ids begin with the time."""
    return f"runs/{run_id[-2:]}/{run_id}"


def input_key(run_id: str, token: str, number: int) -> str:
    """The object with a part of the inputs. `token` is that of the submit."""
    return f"{folder(run_id)}/inputs-{token}-{number}"


def parameters_key(run_id: str, token: str) -> str:
    """The object with long overrides and variables. `token` is that of the submit."""
    return f"{folder(run_id)}/parameters-{token}"


def is_of_submit(key: str) -> bool:
    """Whether an object is what a run was submitted with, not what has come of it."""
    return key.rpartition("/")[2].startswith(("inputs-", "parameters-"))


def is_of_token(key: str, token: str) -> bool:
    """Whether an object of a submit is of that with a token."""
    return key.rpartition("/")[2].split("-")[1] == token


def chunk_key(run_id: str, start: int, token: str) -> str:
    """The object with the results of a chunk that begins with an item. `token` is that of the execution."""
    return f"{folder(run_id)}/chunk-{start}-{token}"


def index_key(run_id: str, place: int, token: str) -> str:
    """The object with the parts of results from a place on."""
    return f"{folder(run_id)}/index-{place}-{token}"


def part_key(run_id: str, place: int, token: str) -> str:
    """The object with results from a place on in the order of completion."""
    return f"{folder(run_id)}/part-{place}-{token}"
