import subprocess
import sys

from gateway.components import keeper

RAISE = """
import resource
from gateway.core.descriptors import descriptor_limit, inherited_descriptor_limit, raise_descriptor_limit
raise_descriptor_limit()
print(descriptor_limit(), inherited_descriptor_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
"""


def limited(soft: int, hard: int, *command: str) -> list[int]:
    """The numbers that a command prints under limits of descriptors."""
    shell = ["bash", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "bash", *command]
    # The keeper of a component server stays for as long as its input is open.
    with subprocess.Popen(shell, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        return [int(number) for number in process.stdout.read().split()]


def test_the_limit_is_raised_as_far_as_possible_and_the_one_before_is_known() -> None:
    assert limited(120, 250, sys.executable, "-c", RAISE) == [250, 120, 250]
    assert limited(250, 250, sys.executable, "-c", RAISE) == [250, 250, 250]


def test_a_component_server_gets_the_limit_that_the_gateway_was_started_with() -> None:
    script = str(keeper.__file__)
    shell = f'"{sys.executable}" "{script}" $$ 120 "$(command -v bash)" -c "ulimit -Sn; ulimit -Hn"; exit'
    assert limited(250, 250, "bash", "-c", shell) == [120, 250]
