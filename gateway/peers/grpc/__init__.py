"""Mechanisms for calls on gRPC servers: options of channels, and uploads."""
