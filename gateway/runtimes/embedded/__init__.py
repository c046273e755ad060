"""The embedded runtime: executes flows in this process and journals them in SQLite or in memory."""
