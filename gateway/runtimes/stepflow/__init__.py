"""The Stepflow engine, releases 0.10 to 0.13, as a runtime: reached over its REST API."""
