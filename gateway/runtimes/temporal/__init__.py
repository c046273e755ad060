"""Executes flows as workflows of a Temporal server, on any number of gateways."""
