"""How a request to an HTTP server can fail, in terms that callers can act upon.

What a failure means to a client of the gateway is up to the callers.
"""


class HttpFailure(Exception):
    """A request without a usable answer. The message says in plain words why, and nothing of the request."""


class NotConnected(HttpFailure):
    """There was no connection to the server: it has not seen the request."""


class AnswerOverdue(HttpFailure):
    """The answer was not there in time. The server may have acted upon the request."""


class ConnectionBroken(HttpFailure):
    """The connection ended before the answer did. The server may have acted upon the request."""


class NotReceived(ConnectionBroken):
    """The connection ended before the answer did, and the server has certainly not seen the request."""


class NotHttp(HttpFailure):
    """The answer breaks the protocol; the message says with what."""


class AnswerTooLarge(HttpFailure):
    """The body of the answer exceeds its limit."""
