"""The rows of a sign-in that waits: who sees its address, and what comes to its port."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_LOOPBACK = "mcpnb/channels/loopback.py"
_CONNECTIONS = "mcpnb/channels/connections.py"
_NAVIGATION = "mcpnb/channels/navigation.py"
_ANSWERING = "mcpnb/login/answering.py"
_SCOPES = "mcpnb/protocol/scopes.py"
_FEW = "if why in self._ignored or len(self._ignored) >= _MOST_IGNORED:"

ROWS = (
    Threat(
        "command-in-a-scope",
        "A server names a scope that a shell takes for a command, in a line that people copy.",
        "Only scope tokens are kept, and a suggested command quotes them for the shell.",
        "RFC 6749 section 3.3; CWE-78",
        (
            Removed(_SCOPES, "{shlex.quote(','.join(scopes))}", "{','.join(scopes)}"),
            Removed(
                "mcpnb/protocol/challenge.py",
                'named(self.params.get("scope", ""))',
                'tuple(self.params.get("scope", "").split())',
            ),
            Removed(
                "mcpnb/protocol/registration.py",
                "(named(scope) or None)",
                "(tuple(scope.split()) or None)",
            ),
        ),
    ),
    Threat(
        "answer-that-a-page-loads",
        "A picture, frame or script of a page delivers an answer of its own, with the right state.",
        "Where a browser says that nobody goes there, it is refused before anything counts.",
        "W3C Fetch Metadata; RFC 9700 section 4.7",
        (
            Removed(_LOOPBACK, "if not is_navigation(self.headers):", "if False:"),
            Removed(
                _NAVIGATION,
                "return wanted and not any(word in said for word in _IN_ADVANCE)",
                "return wanted",
            ),
        ),
    ),
    Threat(
        "authorization-url-in-a-process-list",
        "Another user of the machine reads the address off a browser's command line.",
        "It holds a one-time address of the listener; whoever comes second is told.",
        "CWE-214; RFC 9700 section 4.7",
        (
            Removed(
                "mcpnb/redirects.py", "return listener.lead(url) if local else url", "return url"
            ),
            Removed(
                _LOOPBACK,
                "url, self._leads[path] = self._leads[path], None",
                "url = self._leads[path]",
            ),
            Removed(
                "mcpnb/relay.py",
                "return self._listener.lead(self.url) if self._listener is not None else self.url",
                "return self.url",
            ),
        ),
    ),
    Threat(
        "pending-sign-in-prolonged",
        "Each page that shows a panel keeps an address good that somebody has seen.",
        "Its end stays.",
        "RFC 9700 section 4.2.4; measured: 20 seconds became 300",
        (
            Removed(
                "mcpnb/login/signing_in.py",
                "        if self._only_pending:\n            # Nobody",
                "        if False:\n            # Nobody",
            ),
        ),
    ),
    Threat(
        "address-in-a-saved-notebook",
        "A reader of the notebook's file takes the pending address out of a cell's output.",
        "The output is replaced when the wait ends.",
        "CWE-532; measured in a saved notebook",
        (
            Removed("mcpnb/panel/addresses.py", "    login.on_change(lambda _: look())\n", ""),
            Removed(
                "mcpnb/session/asking.py",
                "    views.room().passing(\n        login,\n",
                "    print(\n",
            ),
        ),
    ),
    Threat(
        "flood-of-answers",
        "A page sends thousands of forged answers, to fill panel, terminal and memory.",
        "A reason is noted once, and few are.",
        "CWE-770; measured: 2,000 requests were 2,000 lines",
        (
            Removed(_ANSWERING, _FEW, "if False:"),
            Removed(_ANSWERING, _FEW, "if why in self._ignored:"),
        ),
    ),
    Threat(
        "listener-flooded",
        "Half-open connections take every descriptor of the kernel, and keep it busy.",
        "32 connections, 15 seconds for a request, a pause after a failed accept.",
        "CWE-400; CWE-770; measured: 253 connections, and no file could be opened",
        (
            Removed(
                _CONNECTIONS,
                "if len(self._talking) + len(self._listened_to) >= _MOST:",
                "if False:",
            ),
            Removed(_CONNECTIONS, "if since < latest]:", "if False]:"),
            Removed(_CONNECTIONS, "time.sleep(_PAUSE)", "pass"),
        ),
    ),
    Threat(
        "callback-by-name",
        "For `localhost` browsers try [::1] first, where another user of the machine listens.",
        "Both are bound, or it is an error.",
        "RFC 8252 section 8.3",
        (
            Removed(_LOOPBACK, "if host in _BY_NAME and not everywhere:", "if False:"),
            Removed(_LOOPBACK, "if error.errno != errno.EADDRINUSE:", "if True:"),
        ),
    ),
)
