"""Runtimes: what executes runs behind the service. They do not know each other."""
