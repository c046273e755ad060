"""What `temporal setup` refuses before it calls anybody."""

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "error: runtime: expected temporal://HOST:PORT/NAMESPACE, got 'embedded'"),
        (["--runtime", "grpc://a:1"], "error: runtime: expected temporal://HOST:PORT/NAMESPACE, got 'grpc://a:1'"),
        (["--runtime", "temporal://a:1"], "error: runtime (from --runtime): expected "),
        (
            ["--runtime", "temporal://a:1/x"],
            "error: runtime (from --runtime): expected temporal://HOST:PORT/NAMESPACE, where the namespace has 2 ",
        ),
        (["--runtime", "temporal://a:1/bc", "--retention", "1h"], "error: --retention: a Temporal server keeps"),
        (["--runtime", "temporal://a:1/bc", "--retention", "soon"], "error: "),
        (
            ["--runtime", "temporal://a.example:1/bc", "--upstream-token-file", "/t"],
            "error: upstream_token_file (from ",
        ),
        (
            ["--runtime", "temporal://a:1/bc", "--upstream-cert", "/t"],
            "error: upstream_cert (from --upstream-cert): needs",
        ),
    ],
)
def test_what_is_no_namespace_is_refused(arguments: list[str], problem: str, capsys) -> None:
    assert run(["temporal", "setup", *arguments]) == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert printed.startswith(problem)
    assert printed.count("\n") == 1


def test_files_of_credentials_have_to_be_there(capsys) -> None:
    arguments = ["--runtime", "temporals://a:1/bc", "--upstream-ca", "/not/there"]
    assert run(["temporal", "setup", *arguments]) == ExitCode.ERROR
    assert capsys.readouterr().err == "error: /not/there cannot be read: No such file or directory (--upstream-ca)\n"
