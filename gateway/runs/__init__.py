"""The runs service: what the fronts serve, over any runtime."""
