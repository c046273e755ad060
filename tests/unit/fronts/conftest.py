import pytest

from gateway.service import RunsService
from tests.support.scripted_runtime import ScriptedRuntime


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
def service(runtime: ScriptedRuntime) -> RunsService:
    return RunsService(runtime)
