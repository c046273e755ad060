"""What every part stands on: messages, errors, the interface of a runtime, positions, JSON text, times."""
