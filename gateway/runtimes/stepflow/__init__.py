"""A Stepflow engine of one of the releases 0.10 to 0.13, reached over its REST API, as a runtime."""
