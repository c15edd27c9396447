"""What a listener may cost: how many connections, for how long, and what a failed one takes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
# threat: listener-held-up
from http.server import ThreadingHTTPServer
from typing import Any

__all__ = ["Bounded"]

_MOST = 32
"""Connections at a time. A browser needs one or two; each costs a thread and a descriptor."""
_WHOLE = 15.0
"""Seconds in which a request has to be there whole: a time-out is for each read alone."""
_PAUSE = 0.2


class Bounded(ThreadingHTTPServer):
    """A server that a flood of connections neither fills up nor keeps busy.

    Whoever comes when all places are taken takes that of the one who has been talking longest
    without coming to an end, so that idle connections, however many, hold nobody up.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *arguments: Any) -> None:
        self._talking: dict[socket.socket, float] = {}
        """Connections whose request is not there yet, the oldest first, and since when."""
        self._listened_to: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; where none can be had, not at once again."""
        try:
            return super().get_request()
        except (ConnectionError, BlockingIOError):  # gone again before it was accepted
            raise
        except OSError:
            # No descriptor is left, say: the connection waits on, and select() says so without end.
            # threat: listener-flooded
            time.sleep(_PAUSE)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Give a new connection a place, if there is one."""
        with self._changed:
            # threat: listener-flooded
            if len(self._talking) + len(self._listened_to) >= _MOST:
                if not self._talking:
                    return False
                self._hang_up(next(iter(self._talking)))
            self._talking[request] = time.monotonic()
        return True

    def service_actions(self) -> None:
        """End what takes too long to say what it wants; called every few hundredths of a second."""
        with self._changed:
            latest = time.monotonic() - _WHOLE
            # threat: listener-flooded
            for late in [each for each, since in self._talking.items() if since < latest]:
                self._hang_up(late)

    def shutdown_request(self, request: Any) -> None:
        """Give a connection's place back."""
        with self._changed:
            self._talking.pop(request, None)
            self._listened_to.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def answering(self, request: socket.socket) -> bool:
        """Say that a request is there, and is being answered; it may be too late for that."""
        with self._changed:
            if self._talking.pop(request, None) is None:
                return False
            self._listened_to.add(request)
            return True

    def drained(self, timeout: float) -> None:
        """Wait until every request is answered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._listened_to, timeout)

    def _hang_up(self, request: socket.socket) -> None:
        del self._talking[request]
        with contextlib.suppress(OSError):  # its own thread closes it
            request.shutdown(socket.SHUT_RDWR)
