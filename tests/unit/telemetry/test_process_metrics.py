"""What processes use."""

import resource

from gateway.telemetry.metrics import families
from gateway.telemetry.process_metrics import measured, tell


def test_a_process_is_told_by_its_name() -> None:
    numbers = measured()
    tell("test-process", numbers)
    told = {family.name: dict(family.samples).get(("test-process",)) for family in families()}
    assert {name: told[name] for name in numbers} == {name: [number] for name, number in numbers.items()}
    assert numbers["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert numbers["process_resident_memory_bytes"] > 1 << 20


def test_a_system_that_tells_nothing_changes_nothing() -> None:
    tell("silent-process", {})
    assert all(("silent-process",) not in dict(family.samples) for family in families())
