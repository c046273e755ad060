# Made from tokens_async.py by `make blocking-client`; changes belong there.
"""The method of the blocking client that makes tokens."""

from collections.abc import Iterable, Mapping

from gateway.client.calls_blocking import Calls
from gateway.client.tokens import ScopedToken, scoped_token, token_request


class TokenCalls(Calls):
    """Makes tokens, for a blocking client."""

    def create_token(
        self,
        permissions: Iterable[str],
        *,
        namespace: str | None = None,
        run_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        lifetime: float | None = None,
        timeout: float | None = None,
    ) -> ScopedToken:
        """Make a token that permits some of what this client may do, for a short time: for a browser, or a process.

        `permissions` are texts like `runs:read`. The token is for a namespace of the client (None: the one that its
        calls concern), and there for the run `run_id` alone, or for runs with `labels` alone, if they are given. It is
        valid for `lifetime` seconds, at most 24 hours (None: 15 minutes), and no longer than the client's own.
        Raises PermissionDenied if the client does not hold what the token grants, InvalidParams if that has no meaning,
        and Unsupported if the gateway has no signing key.
        """
        request = token_request(permissions, namespace, run_id, labels or {}, lifetime)
        return scoped_token(
            self._call(
                "runs.v1.RunsService/CreateToken",
                lambda to, seconds: to.runs.CreateToken(request, timeout=seconds),
                timeout,
            )
        )
