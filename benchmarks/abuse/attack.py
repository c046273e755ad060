"""One attack as a program: `python -m benchmarks.abuse.attack NAME GRPC HTTP SECONDS [ARGUMENT...]`."""

import sys

from benchmarks.abuse.suite import ROWS


def main(name: str, grpc: str, http: str, seconds: str, *arguments: str) -> None:
    """Attack, and print what came of it in one line."""
    outcome = ROWS[name].attack(grpc, http, float(seconds), *map(int, arguments))
    sys.stdout.write(f"{outcome}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
