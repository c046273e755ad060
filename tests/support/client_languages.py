"""The clients in `clients/`: what each language needs, how its client is built, and how it is run.

`python -m tests.support.client_languages` builds all that can be built on this machine, and says what was left out;
with names of languages after it, those alone.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support import session
from tests.support.environments import locked

PROJECT: Final = Path(__file__).parents[2]
_BUILT: Final = PROJECT / ".cache/clients"


@dataclass(frozen=True)
class ClientLanguage:
    """`{out}` in `command` stands for the folder into which `make -C clients/NAME OUT={out}` builds."""

    name: str
    command: tuple[str, ...]
    needs: Mapping[str, str]
    """Programs and files that the build or the client needs, and the package that has each."""
    built: bool = True
    """Whether there is anything to build."""

    @property
    def out(self) -> Path:
        """Where what is built belongs."""
        return _BUILT / self.name

    def missing(self) -> dict[str, str]:
        """What this machine lacks of `needs`."""
        return {need: package for need, package in self.needs.items() if not _exists(need)}

    def build(self) -> tuple[str, ...]:
        """Build the client, unless that has been done from the same sources. How it is run."""
        if self.built:
            with locked(self.out):
                self._make()
        return tuple(part.format(out=self.out) for part in self.command)

    def _make(self) -> None:
        mark, sources = self.out / ".built-from", _digest(self._sources())
        if mark.exists() and mark.read_text() == sources:
            return
        session.say(f"building clients/{self.name} ...")
        mark.unlink(missing_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        make = ("make", "--silent", "-C", str(PROJECT / "clients" / self.name), f"OUT={self.out}")
        # Not a make inside the one that has started the tests.
        environment = {name: text for name, text in session.started_with().items() if name != "MAKEFLAGS"}
        made = subprocess.run(
            make, check=False, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert made.returncode == 0, f"clients/{self.name} cannot be built:\n{made.stdout}"
        mark.write_text(sources)

    def _sources(self) -> Iterator[Path]:
        yield PROJECT / "clients/status_details.proto"
        for folder in (PROJECT / "clients" / self.name, PROJECT / "protos/runs"):
            yield from (
                file for file in sorted(folder.rglob("*")) if file.is_file() and "node_modules" not in file.parts
            )


# The libraries of Debian, and the version of one of them that has this file.
_GO_GRPC: Final = "/usr/share/gocode/src/google.golang.org/grpc/clientconn.go"
_GO_PROTOBUF: Final = "/usr/share/gocode/src/github.com/golang/protobuf/proto/proto.go"

_JARS: Final = {
    "error_prone_annotations": "liberror-prone-java",
    "geronimo-annotation-1.3-spec": "libgeronimo-annotation-1.3-spec-java",
    "grpc-netty": "libgrpc-java",
    "gson": "libgoogle-gson-java",
    "guava": "libguava-java",
    "netty-codec-http2": "libnetty-java",
    "netty-tcnative": "libnetty-tcnative-java",
    "perfmark-api": "libperfmark-java",
    "protobuf": "libprotobuf-java",
}
"""Libraries of Java, and Debian's packages with them."""

_DEBIAN_CRATES: Final = {
    f"/usr/share/doc/librust-{crate}-dev": f"librust-{crate}-dev"
    for crate in ("base64", "h2", "percent-encoding", "prost-build", "serde-json", "tokio-native-tls", "uuid")
}

LANGUAGES: Final = {
    language.name: language
    for language in (
        ClientLanguage(
            "cpp",
            ("{out}/runs-cpp",),
            {
                "cmake": "cmake",
                "g++": "g++",
                "protoc": "protobuf-compiler",
                "grpc_cpp_plugin": "protobuf-compiler-grpc",
                "/usr/include/grpcpp/grpcpp.h": "libgrpc++-dev",
                "/usr/include/nlohmann/json.hpp": "nlohmann-json3-dev",
            },
        ),
        ClientLanguage(
            "java",
            ("{out}/runs-java",),
            {
                "javac": "openjdk-17-jdk-headless",
                "protoc": "protobuf-compiler",
                "grpc_java_plugin": "protobuf-compiler-grpc-java-plugin",
                **{f"/usr/share/java/{jar}.jar": package for jar, package in _JARS.items()},
            },
        ),
        ClientLanguage("python", (sys.executable, "-m", "clients.python"), {}, built=False),
        ClientLanguage(
            "go",
            ("{out}/client",),
            {
                "go": "golang-go",
                "protoc": "protobuf-compiler",
                "protoc-gen-go": "protoc-gen-go",
                "protoc-gen-go-grpc": "protoc-gen-go-grpc",
                _GO_GRPC: "golang-google-grpc-dev",
                _GO_PROTOBUF: "golang-github-golang-protobuf-1-5-dev",
            },
        ),
        ClientLanguage(
            "ruby",
            ("ruby", "-I", "{out}", str(PROJECT / "clients/ruby/bin/scenario")),
            {"ruby": "ruby", "grpc_tools_ruby_protoc": "ruby-grpc-tools"},
        ),
        ClientLanguage(
            "rust",
            ("{out}/debug/scenario",),
            {"cargo": "cargo", "protoc": "protobuf-compiler", "pkg-config": "pkg-config", **_DEBIAN_CRATES},
        ),
        ClientLanguage("typescript", ("node", "{out}/dist/play/main.js"), {"node": "nodejs", "npm": "npm"}),
    )
}
"""By their names. A new one is a folder of `clients/` with a Makefile, and a row here."""


def main() -> None:
    for name in sys.argv[1:] or LANGUAGES:
        language = LANGUAGES[name]
        if missing := language.missing():
            packages = " ".join(sorted({*missing.values()}))
            session.say(f"clients/{name} is left out: {', '.join(missing)} not found; needed: {packages}")
        else:
            session.say(f"clients/{name}: {' '.join(language.build())}")


def _exists(need: str) -> bool:
    return Path(need).exists() if os.path.isabs(need) else shutil.which(need) is not None


def _digest(files: Iterator[Path]) -> str:
    whole = sha256()
    for file in files:
        whole.update(f"{file.relative_to(PROJECT)}\n".encode())
        whole.update(sha256(file.read_bytes()).digest())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
