"""Talking to HTTP servers."""
