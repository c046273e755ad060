"""Sharing one event loop fairly: turns, slices of time, notification. Nothing here knows what a run is."""
