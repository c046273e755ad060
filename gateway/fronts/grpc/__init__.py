"""The gRPC front: the runs and blobs services, health and reflection, on a server with the interface of grpc.aio."""

from gateway.fronts.grpc.front import SERVICES, GrpcFront
from gateway.fronts.grpc.server import GrpcLimits

__all__ = ["SERVICES", "GrpcFront", "GrpcLimits"]
