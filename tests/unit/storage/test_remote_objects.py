"""What is said of errors of a service: enough to mend them, and nothing of addresses, headers and bodies."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import obstore.exceptions
import pytest

from gateway.storage.object_backend import ObjectMissing, ObjectsAway, ObjectsError
from gateway.storage.remote_objects import RemoteObjects

TEXT = "Error performing GET https://host.internal/secret?token=secret in 1ms"


@pytest.fixture
def remote() -> RemoteObjects:
    return RemoteObjects("s3://bucket/prefix")


@contextmanager
def told(remote: RemoteObjects, *, writing: bool = False) -> Iterator[None]:
    with remote._errors(writing=writing):
        yield


def of_status(status: str, code: str = "") -> str:
    return f"{TEXT} - Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (obstore.exceptions.GenericError(f"{TEXT} - HTTP error: error sending request"), ObjectsAway("no connection")),
        (obstore.exceptions.GenericError(of_status("503 Slow Down", "SlowDown")), ObjectsAway("503 SlowDown")),
        (obstore.exceptions.GenericError(of_status("500 Internal Server Error")), ObjectsAway("500")),
        (obstore.exceptions.GenericError(of_status("429 Too Many Requests")), ObjectsAway("429")),
        (obstore.exceptions.GenericError(of_status("400 Bad", "RequestTimeout")), ObjectsAway("400 RequestTimeout")),
        (
            obstore.exceptions.PermissionDeniedError(of_status("403 Forbidden", "RequestTimeTooSkewed")),
            ObjectsAway("403 RequestTimeTooSkewed"),
        ),
        (
            obstore.exceptions.PermissionDeniedError(of_status("403 Forbidden", "AccessDenied")),
            ObjectsError("access is denied (AccessDenied)"),
        ),
        (obstore.exceptions.UnauthenticatedError(of_status("401 No")), ObjectsError("access is denied")),
        (
            obstore.exceptions.GenericError(of_status("400 Bad", "AuthorizationHeaderMalformed")),
            ObjectsError("the service refuses requests (400 AuthorizationHeaderMalformed)"),
        ),
        (
            obstore.exceptions.GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 1ms"),
            ObjectsError("there are no credentials in the environment"),
        ),
        (FileNotFoundError(of_status("404 Not Found", "NoSuchBucket")), ObjectsError("there is no such bucket")),
        (FileNotFoundError(of_status("404 Not Found", "NoSuchKey")), ObjectMissing()),
    ],
    ids=lambda value: str(value)[-40:] if isinstance(value, Exception) else None,
)
def test_errors_are_told_in_few_words(remote: RemoteObjects, error: Exception, expected: Exception) -> None:
    with pytest.raises(type(expected)) as raised, told(remote):
        raise error
    assert str(raised.value) == str(expected)
    assert raised.value.__suppress_context__


def test_nothing_is_missing_where_something_is_written(remote: RemoteObjects) -> None:
    with pytest.raises(ObjectsError, match="no such bucket"), told(remote, writing=True):
        raise FileNotFoundError(of_status("404 Not Found"))


@pytest.mark.parametrize("url", ["s3://", "ftp://bucket", "az://container"])
def test_what_cannot_be_opened_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ObjectsError) as raised:
        RemoteObjects(url)
    assert "\n" not in str(raised.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ObjectsError, match=r"pip install 'runs-gateway\[temporal\]'"):
        RemoteObjects("s3://bucket")
