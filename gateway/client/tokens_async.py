# ruff: noqa: ASYNC109 - a timeout is a parameter of a run here: when it has passed, nothing is cancelled.
"""The method of the client for asyncio that makes tokens."""

from collections.abc import Iterable, Mapping

from gateway.client.calls_async import AsyncCalls
from gateway.client.tokens import ScopedToken, scoped_token, token_request


class AsyncTokenCalls(AsyncCalls):
    """Makes tokens, for a client for asyncio."""

    async def create_token(
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
            await self._call(
                "runs.v1.RunsService/CreateToken",
                lambda to, seconds: to.runs.CreateToken(request, timeout=seconds),
                timeout,
            )
        )
