"""A Jupyter server as far as the panel can tell: its page, the callback page, nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.house import PACKAGE

HERE = Path(__file__).parent
PANEL = PACKAGE / "panel"
CALLBACK = "/lab/extensions/mcpnb/callback.html"
_FILES = {
    "/notebook": (HERE / "notebook.html", "text/html"),
    "/notebook.js": (HERE / "notebook.js", "text/javascript"),
    "/panel.js": (PANEL / "panel.js", "text/javascript"),
    "/panel.css": (PANEL / "panel.css", "text/css"),
    CALLBACK: (PANEL / "callback.html", "text/html"),
}
_AUTHORIZE = b"<!doctype html><title>Approve?</title><h1>Approve?</h1>"
_FRAME = f'<!doctype html><title>A frame</title><iframe src="{CALLBACK}?state=x&code=y"></iframe>'


@dataclass
class Site:
    """Where it is, and what was asked of it."""

    url: str
    has_page: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Give status, content type and content."""
        bare = urlsplit(path).path
        self.asked.append(bare)
        if bare == "/authorize":
            return 200, "text/html", _AUTHORIZE
        if bare == "/frame":
            return 200, "text/html", _FRAME.encode()
        if bare not in _FILES or (bare == CALLBACK and not self.has_page):
            return 404, "text/plain", b"There is nothing."
        file, kind = _FILES[bare]
        return 200, kind, file.read_bytes()


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Serve it on loopback until the block ends."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, content = served.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Stay quiet: `asked` holds it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    served = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
