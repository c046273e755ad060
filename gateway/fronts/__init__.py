"""Fronts: the transports by which clients reach the runs service."""
