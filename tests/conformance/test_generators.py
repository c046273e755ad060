"""The contract, generated for other languages: without a warning, and into the packages that its options name.

The generators are those of Debian. It lacks one, as npm and PyPI do: the plugin that makes C#'s gRPC stubs. For C#,
only the messages are generated.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import program

PROTOS = Path(__file__).parents[2] / "protos"
GO = "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
JAVA = "io/github/runs_gateway/runs/v1"

PACKAGES = {
    "protoc": "protobuf-compiler",
    "grpc_cpp_plugin": "protobuf-compiler-grpc",
    "grpc_java_plugin": "protobuf-compiler-grpc-java-plugin",
    "grpc_php_plugin": "protobuf-compiler-grpc",
    "grpc_ruby_plugin": "protobuf-compiler-grpc",
    "protoc-gen-go": "protoc-gen-go",
    "protoc-gen-go-grpc": "protoc-gen-go-grpc",
}
"""Which package of Debian has a program."""


@dataclass(frozen=True)
class Language:
    """How protoc generates code of a language."""

    outputs: tuple[str, ...]
    expected: dict[str, str]
    """Some of the files that are made, each with a pattern that matches one of its lines."""
    plugins: tuple[tuple[str, str], ...] = ()
    """Outputs that are not a part of protoc, each with the program that makes it."""
    options: tuple[str, ...] = ()


LANGUAGES = {
    "go": Language(
        outputs=("go", "go-grpc"),
        plugins=(("go", "protoc-gen-go"), ("go-grpc", "protoc-gen-go-grpc")),
        expected={
            f"{GO}/runs.pb.go": "package runsv1",
            f"{GO}/blobs.pb.go": "package runsv1",
            f"{GO}/runs_grpc.pb.go": r"type RunsServiceClient interface \{",
            f"{GO}/blobs_grpc.pb.go": r"type BlobsServiceClient interface \{",
        },
    ),
    "java": Language(
        outputs=("java", "grpc-java"),
        plugins=(("grpc-java", "grpc_java_plugin"),),
        expected={
            f"{JAVA}/RunsProto.java": r"package io\.github\.runs_gateway\.runs\.v1;",
            f"{JAVA}/BlobsProto.java": r"package io\.github\.runs_gateway\.runs\.v1;",
            f"{JAVA}/GetRunResponse.java": "public  ?final class GetRunResponse extends",
            f"{JAVA}/RunsServiceGrpc.java": r"public final class RunsServiceGrpc \{",
            f"{JAVA}/BlobsServiceGrpc.java": r"public final class BlobsServiceGrpc \{",
        },
    ),
    "csharp": Language(
        outputs=("csharp",),
        options=("--csharp_opt=base_namespace=RunsGateway",),
        expected={
            "Runs/V1/Runs.cs": r"namespace RunsGateway\.Runs\.V1 \{",
            "Runs/V1/Blobs.cs": r"namespace RunsGateway\.Runs\.V1 \{",
        },
    ),
    "cpp": Language(
        outputs=("cpp", "grpc-cpp"),
        plugins=(("grpc-cpp", "grpc_cpp_plugin"),),
        expected={
            "runs/v1/runs.pb.h": r"namespace runs \{",
            "runs/v1/blobs.pb.h": r"namespace runs \{",
            "runs/v1/runs.grpc.pb.h": r"class RunsService final \{",
            "runs/v1/blobs.grpc.pb.h": r"class BlobsService final \{",
        },
    ),
    "ruby": Language(
        outputs=("ruby", "grpc-ruby"),
        plugins=(("grpc-ruby", "grpc_ruby_plugin"),),
        expected={
            "runs/v1/runs_pb.rb": r"module RunsGateway",
            "runs/v1/blobs_pb.rb": r"module RunsGateway",
            "runs/v1/runs_services_pb.rb": r"\s*rpc :GetRun, ::RunsGateway::Runs::V1::GetRunRequest, stream\(.*",
            "runs/v1/blobs_services_pb.rb": r"\s*rpc :GetBlob, ::RunsGateway::Runs::V1::GetBlobRequest, .*",
        },
    ),
    "php": Language(
        outputs=("php", "grpc-php"),
        plugins=(("grpc-php", "grpc_php_plugin"),),
        expected={
            "RunsGateway/Runs/V1/GetRunResponse.php": r"namespace RunsGateway\\Runs\\V1;",
            "RunsGateway/Runs/V1/RunsServiceClient.php": r"namespace RunsGateway\\Runs\\V1;",
            "RunsGateway/Runs/V1/BlobsServiceClient.php": r"namespace RunsGateway\\Runs\\V1;",
        },
    ),
}


def installed(name: str) -> str:
    return program(name, PACKAGES[name])


def generate(language: Language, protos: Path, into: Path) -> subprocess.CompletedProcess[str]:
    """Runs protoc on all files below a folder."""
    files = sorted(str(path.relative_to(protos)) for path in protos.glob("**/*.proto"))
    plugins = [f"--plugin=protoc-gen-{output}={installed(name)}" for output, name in language.plugins]
    outputs = [f"--{output}_out={into}" for output in language.outputs]
    command = [installed("protoc"), f"-I{protos}", *plugins, *outputs, *language.options, *files]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", LANGUAGES)
def test_generates_without_a_warning_into_the_named_packages(name: str, tmp_path: Path) -> None:
    language = LANGUAGES[name]
    done = generate(language, PROTOS, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for file, pattern in language.expected.items():
        lines = (tmp_path / file).read_text().splitlines()
        assert any(re.fullmatch(pattern, line.rstrip()) for line in lines), f"{file} has no line {pattern}"


def test_a_warning_is_seen(tmp_path: Path) -> None:
    """The test above relies on it: generators write their warnings to the standard error."""
    protos = tmp_path / "protos"
    protos.mkdir()
    (protos / "empty.proto").write_text(
        'syntax = "proto3";\npackage empty;\nimport "google/protobuf/struct.proto";\nmessage Empty {}\n'
    )
    into = tmp_path / "generated"
    into.mkdir()
    done = generate(LANGUAGES["cpp"], protos, into)
    assert (done.returncode, done.stderr.count("warning")) == (0, 1)
