"""The pauses of the blocking client between its calls."""

import threading


class Pauses:
    """Pauses that end when the client is closed, by whatever thread: its next call says so."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def end(self) -> None:
        """Let all pauses end at once, also later ones."""
        self._ended.set()

    def pause(self, seconds: float) -> None:
        """Pause for so many seconds."""
        self._ended.wait(seconds)
