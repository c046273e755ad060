"""Talking to other servers, whatever they serve."""
