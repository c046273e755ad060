"""The ids of runs with idempotency keys."""

import uuid

from gateway.core.model import canonical_run_id
from gateway.runtimes.temporal.run_names import run_id_of_key, run_id_of_workflow, workflow_id


def test_a_key_makes_an_id_of_version_8() -> None:
    run_id = run_id_of_key("default", "", "k")
    assert run_id == canonical_run_id(run_id)
    assert (uuid.UUID(run_id).version, uuid.UUID(run_id).variant) == (8, uuid.RFC_4122)
    assert run_id_of_workflow(workflow_id(run_id)) == run_id


def test_namespace_scope_and_key_make_the_id() -> None:
    ids = {run_id_of_key(*names) for names in (("a", "", "k"), ("b", "", "k"), ("a", "t", "k"), ("a", "", "l"))}
    assert len(ids) == 4
    assert run_id_of_key("a", "", "k") in ids
