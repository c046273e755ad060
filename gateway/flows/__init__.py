"""Flows: how they are compiled, and how the items of runs execute them, whatever keeps the runs."""
