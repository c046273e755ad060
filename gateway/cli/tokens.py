"""The commands about tokens: `token create`, for a file of tokens, and `token grant`, which asks a gateway for one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from gateway.cli.assignments import assignments
from gateway.cli.connection import connect
from gateway.cli.errors import CommandError, UsageError
from gateway.cli.filters import LABEL_FORM
from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.gateway_flags import Gateway, GatewayFlags
from gateway.cli.output import object_json
from gateway.cli.parameters import duration
from gateway.core.durations import duration_seconds
from gateway.core.errors import GatewayError, InvalidParams
from gateway.core.owner import Permission
from gateway.core.times import nanoseconds, rfc3339
from gateway.core.tokens import TokenParams

READING = (Permission.READ.value, Permission.READ_BLOBS.value)
"""What a token permits unless something else is said."""

app = App(name="token", help="Make tokens: for the file of a gateway, and for a short time.")


@app.command
def create(
    *,
    name: Annotated[str | None, Parameter(help="The identity; several tokens may have the same.")] = None,
    permission: Annotated[
        list[str] | None,
        Parameter(
            name="--permission",
            metavar="NAME",
            help="A permission, as runs:submit, or a role of the gateway. May be repeated. Without any: runs:read and "
            "blobs:read.",
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        Parameter(
            name="--namespace",
            metavar="NAME",
            help="A namespace of the identity. May be repeated: the first is the default one. Without any: 'default'.",
        ),
    ] = None,
    expires: Annotated[
        str | None, Parameter(help="When it is valid no more: after a duration, as 90d, or at 2027-01-31T00:00:00Z.")
    ] = None,
    form: Form = None,
) -> None:
    """Print a new token, and the lines for the file of 'serve --tokens'.

    The token is printed once, and kept nowhere: the file has its digest.
    """
    from gateway.access.new_token import new_token

    chosen = form_of(form)
    try:
        made = new_token(permission or READING, namespace or (), name=name, expires=_moment(expires))
    except ValueError as error:
        raise UsageError(re.sub(r"^token 1 \(.*?\): ", "", str(error))) from None
    value = object_json(token=made.token, sha256=made.digest, entry=made.entry)
    print_either(chosen, value, f"{made.token}\n\n{made.entry}".rstrip())


@dataclass(frozen=True, kw_only=True)
class GrantOptions:
    """What a token is for that is valid for a short time."""

    permissions: Annotated[
        list[str] | None,
        Parameter(
            name="--permission",
            metavar="NAME",
            help="A permission, as runs:read. May be repeated. Without any: runs:read and blobs:read.",
        ),
    ] = None
    run_id: Annotated[str | None, Parameter(name="--run", help="The token is for this run alone.")] = None
    labels: Annotated[
        list[str] | None,
        Parameter(
            name="--label",
            metavar=LABEL_FORM,
            help="The token is for runs with this label alone, and those that it submits get it. May be repeated.",
        ),
    ] = None
    lifetime: Annotated[
        float | None,
        Parameter(
            name="--lifetime",
            metavar="DURATION",
            converter=duration,
            allow_leading_hyphen=True,
            help="How long it is valid: 90s, 2h. 15 minutes by default, 24 hours at most.",
        ),
    ] = None


@app.command
def grant(
    *,
    options: Annotated[GrantOptions | None, Parameter(name="*")] = None,
    signing_key: Annotated[
        Path | None, Parameter(help="Sign it here with the key in this file, and ask no gateway; for --identity.")
    ] = None,
    identity: Annotated[str | None, Parameter(help="With --signing-key: the identity that it is of.")] = None,
    gateway: Gateway = None,
    form: Form = None,
) -> None:
    """Print a token that is valid for a short time and permits some of what you may do.

    For a browser, or for a process that is to read one run. Every gateway with the same signing key accepts it.
    """
    chosen, asked = form_of(form), options or GrantOptions()
    permissions = asked.permissions or READING
    namespace = (gateway or GatewayFlags()).namespace
    labels = assignments("--label", LABEL_FORM, asked.labels or ())
    if (signing_key is None) != (identity is None):
        raise UsageError("--signing-key and --identity go together")
    if signing_key is not None and identity is not None:
        known = {"permissions": permissions, "labels": labels, "namespace": namespace}
        token, expires_at = _signed(signing_key, identity, {**vars(asked), **known})
    else:
        with connect(gateway) as client:
            granted = client.create_token(
                permissions, namespace=namespace, run_id=asked.run_id, labels=labels, lifetime=asked.lifetime
            )
        token, expires_at = granted.token, granted.expires_at.isoformat()
    print_either(chosen, object_json(token=token, expiresAt=expires_at), token)


def _signed(file: Path, identity: str, asked: Mapping[str, Any]) -> tuple[str, str]:
    """A token that is signed here, and when it ends: with the key, anything can be granted but `admin`."""
    from gateway.access.granted import is_identity
    from gateway.access.scoped_tokens import MAX_KEYS_FILE, ScopedTokens, read_signing_keys
    from gateway.access.watched_file import WatchedFile
    from gateway.adapter.tokens_json import permission_from_text
    from gateway.core.caller import ALL, Caller
    from gateway.core.validation import validated

    if not is_identity(identity):
        raise UsageError("--identity: expected one line that can be printed")
    try:
        keys = WatchedFile(str(file), read_signing_keys, MAX_KEYS_FILE)
        permissions = tuple(map(permission_from_text, asked["permissions"], count()))
        params = validated(TokenParams, {**asked, "permissions": permissions})
        created = ScopedTokens(keys).create(Caller(identity, ALL), params)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror} (--signing-key)") from None
    except InvalidParams as error:
        raise UsageError(error.message) from None
    except GatewayError as error:
        raise CommandError(error.message) from None
    except ValueError as error:
        raise CommandError(f"{file}: {error} (--signing-key)") from None
    return created.token, rfc3339(created.expires_at)


def _moment(text: str | None) -> str | None:
    """A time for TOML, of a time or of a duration from now. Raises UsageError if the text is neither."""
    if text is None:
        return None
    try:
        nanoseconds(text)
    except InvalidParams:
        pass
    else:
        return text
    try:
        until = datetime.now(UTC) + timedelta(seconds=duration_seconds(text))
    except (ValueError, OverflowError):
        raise UsageError(f"--expires: expected 90d or 2027-01-31T00:00:00Z, got {text!r}") from None
    return until.isoformat(timespec="seconds")
