"""The public names of the client: what is added or removed here is a change of the package's interface."""

import gateway.client
from gateway.core.errors import GatewayError

CLIENTS = {"RunsClient", "AsyncRunsClient", "CHANNEL_OPTIONS"}
VALUES = {
    "Json",
    "ObservabilityContext",
    "ResultOrder",
    "RunFilter",
    "RunOrder",
    "RunSet",
    "RunWatch",
    "SecurityOptions",
    "SubmitOptions",
}
ANSWERS = {
    "BulkProgress",
    "CaughtUp",
    "Item",
    "ItemError",
    "ItemResult",
    "ItemStatistics",
    "RunEnded",
    "RunEvent",
    "RunSetEvent",
    "RunState",
    "RunStatus",
    "RunUpdate",
    "RunsPage",
    "ScopedToken",
    "SetEvent",
    "SetUpdate",
    "StepState",
    "StepStatus",
    "Violation",
}
ERRORS = {
    "FlowNotFound",
    "GatewayError",
    "IdempotencyConflict",
    "Internal",
    "InvalidBlobId",
    "InvalidFlow",
    "InvalidParams",
    "InvalidRunId",
    "MethodNotFound",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "RemoteError",
    "RunNotEnded",
    "RunNotFound",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
}


def test_the_public_names_are_these() -> None:
    assert set(gateway.client.__all__) == CLIENTS | VALUES | ANSWERS | ERRORS


def test_each_public_name_is_there() -> None:
    assert all(hasattr(gateway.client, name) for name in gateway.client.__all__)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> set[str]:
        return {name for name in dir(client) if not name.startswith("_")}

    assert {"cancel", "delete", "runs", "items", "watch_set", "submit"} <= methods(gateway.client.RunsClient)
    assert methods(gateway.client.RunsClient) == methods(gateway.client.AsyncRunsClient)


def test_every_error_is_of_one_tree() -> None:
    assert all(issubclass(getattr(gateway.client, name), GatewayError) for name in ERRORS)
