"""The methods that are served by Connect and gRPC-Web: those of the servicers that add themselves."""

from collections.abc import Iterable, Mapping

import grpc

from gateway.fronts.grpc.grpcio_server import MethodHandler
from gateway.fronts.web.web_method import WebMethod


class WebMethods:
    """To a servicer, a server. `by_path` has the methods, `/SERVICE/METHOD`."""

    def __init__(self) -> None:
        self.by_path: dict[str, WebMethod] = {}
        self._services: set[str] = set()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Do nothing: the methods are registered as well."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, MethodHandler]) -> None:
        """Called when a servicer is added."""
        self._services.add(service_name)
        for name, handler in method_handlers.items():
            path = f"/{service_name}/{name}"
            self.by_path[path] = WebMethod(path, handler)

    def service(self, path: str) -> str:
        """`/SERVICE/*`, if the path names a service that is here, and something in it; otherwise ""."""
        service = path[1:].rpartition("/")[0]
        return f"/{service}/*" if service in self._services else ""
