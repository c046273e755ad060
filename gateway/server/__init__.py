"""The life of a process that serves: settings, parts, worker processes, signals."""
