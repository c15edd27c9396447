"""Both servers of the demo, started and stopped together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Self

from mcpnb.demo.authorization_server import AuthorizationServer
from mcpnb.demo.endpoints import application
from mcpnb.demo.listening import HOST, Listening, Record, bind
from mcpnb.demo.mcp_server import ResourceServer

__all__ = ["DemoServers"]


class DemoServers:
    """An authorization server and an MCP server on the loopback, as a context manager.

    Attributes:
        mcp_url: The MCP server's address: what a person signs in to.
        issuer: The authorization server's.
        authorization_server: Its switches and counters.
        mcp_server: Its counters.
        requests: Method and path of each request to the authorization server, oldest first.
        answers: The same with the status.
    """

    def __init__(self, *, port: int = 0, **switches: Any) -> None:
        """Take the ports.

        Args:
            port: The MCP server's port; the authorization server gets the next. 0: any two.
            switches: See `AuthorizationServer`.

        Raises:
            OSError: A port is taken.
        """
        with ExitStack() as undo:
            mcp_socket = undo.enter_context(bind(port))
            issuer_socket = undo.enter_context(bind(port + 1 if port else 0))
            self.mcp_url = f"http://{HOST}:{mcp_socket.getsockname()[1]}/mcp"
            self.issuer = f"http://{HOST}:{issuer_socket.getsockname()[1]}"
            self.authorization_server = AuthorizationServer(
                self.issuer, resource=self.mcp_url, **switches
            )
            self.mcp_server = ResourceServer(self.mcp_url, self.authorization_server)
            record = Record(application(self.authorization_server))
            self.requests, self.answers = record.requests, record.answers
            undo.pop_all()
        self._servers = (
            Listening(record, issuer_socket, "demo authorization server"),
            Listening(self.mcp_server.app, mcp_socket, "demo MCP server"),
        )

    def start(self) -> Self:
        """Start both."""
        for server in self._servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop both: at once, so that it takes as long as one."""
        for server in self._servers:
            server.ask_to_stop()
        for server in self._servers:
            server.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
