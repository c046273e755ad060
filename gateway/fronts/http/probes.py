"""What load balancers and Kubernetes ask: `/livez`, `/readyz` and `/startupz` in words, and `/health` in JSON.

- `/livez`: the process gets to its work. Only a defect that nothing but a new process mends is a failure.
- `/readyz`: calls should be sent here: the start is complete, runs are accepted, the runtime elsewhere could be
  reached, and the gateway does not stop.
- `/startupz`: the start is complete: everything listens, and the runs from before are counted.
- `/health`: runs are accepted, and the gateway does not stop. A runtime elsewhere does not count.

The status is 200 or 503. `?verbose` tells each check on a line of its own, and so does a failure.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway.core.readiness import Readiness
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines, json_response

HEALTH_PATH: Final = "/health"

_AWAY: Final = "the runtime cannot be reached, or does not accept this gateway"

_LINES: Final = header_lines(
    {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", "Server": SERVER}
)


class Probes:
    """Answers probes. `started` says that everything has started, `draining` that the gateway is about to stop.

    `names_components`: everybody may know which components there are.
    """

    def __init__(self, readiness: Readiness, *, names_components: bool = True) -> None:
        self._readiness = readiness
        self._names_components = names_components
        self.started = False
        self.draining = False

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a probe; None if the request is none."""
        path = request.path
        if path == HEALTH_PATH:
            return self._health()
        checks = {"/livez": self._live, "/readyz": self._ready, "/startupz": self._startup}.get(path)
        if checks is None:
            return None
        return _told(path[1:], checks(), verbose="verbose" in request.query)

    def _live(self) -> dict[str, str | None]:
        return {"defects": self._readiness.defect}

    def _startup(self) -> dict[str, str | None]:
        return {"start": None if self.started else "not everything listens", "runs": self._readiness.starting}

    def _ready(self) -> dict[str, str | None]:
        return {
            **self._startup(),
            "state": self._readiness.obstacle,
            "upstream": _AWAY if self._readiness.upstream_is_away() else None,
            "shutdown": "the gateway is about to stop" if self.draining else None,
        }

    def _health(self) -> HttpResponse:
        if self.draining:
            return json_response('{"status":"draining"}', status=503)
        if (obstacle := self._readiness.obstacle) is not None:
            return json_response(msgspec.json.encode({"status": "unhealthy", "reason": obstacle}), status=503)
        health: dict[str, Any] = {"status": "healthy"}
        if self._names_components and (missing := self._readiness.missing):
            health["missing_components"] = missing
        return json_response(msgspec.json.encode(health))


def _told(name: str, checks: dict[str, str | None], *, verbose: bool) -> HttpResponse:
    """The answer, in the form of Kubernetes. `checks` has what is wrong, and None for what is in order."""
    failed = any(checks.values())
    text = "ok"
    if failed or verbose:
        lines = [f"[-]{check} failed: {wrong}" if wrong else f"[+]{check} ok" for check, wrong in checks.items()]
        text = "\n".join([*lines, f"{name} check {'failed' if failed else 'passed'}\n"])
    return HttpResponse(text.encode(), _LINES, HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK)
