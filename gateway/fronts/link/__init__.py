"""The runtime for the workers of its gateway."""
