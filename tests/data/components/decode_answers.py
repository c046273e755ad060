"""Decodes JSON-RPC answers with the message decoder of the installed SDK, as its component servers do.

Reads lines `{"method", "id", "answer"}` from standard input, where `answer` is the text of a response; writes for each
the decoded response as a line of JSON.
"""

# mypy: ignore-errors

import json
import sys

import msgspec
from stepflow_py.worker.generated_protocol import Method
from stepflow_py.worker.message_decoder import MessageDecoder


def main() -> None:
    for line in sys.stdin:
        entry = json.loads(line)
        decoder = MessageDecoder()
        decoder.register_request_for_method(entry["id"], Method(entry["method"]), None)
        message, _ = decoder.decode(entry["answer"].encode())
        sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")


if __name__ == "__main__":
    main()
