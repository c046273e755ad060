"""Talking to gRPC servers."""
