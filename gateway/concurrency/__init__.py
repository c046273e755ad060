"""Sharing one event loop fairly, and work that many ask for. Nothing here knows what a run is."""
