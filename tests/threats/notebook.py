"""The rows of pages, kernels and processes: what leaves a notebook, and what gets into it."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "callback-page-xss",
        "The last page in the browser repeats a server's or an attacker's HTML.",
        "Its words are escaped, whoever wrote them; nothing of the request is on it.",
        "CWE-79; RFC 9700 section 4.2",
    ),
    Threat(
        "callback-page-referrer",
        "The page's address, which holds the code, goes along to wherever the browser goes next.",
        "No referrer, in a header or in the page; nothing is loaded, and there is no link.",
        "RFC 9700 section 4.2.4; W3C Referrer Policy",
    ),
    Threat(
        "callback-page-policy",
        "Whatever gets into a callback page runs there.",
        "A policy lets nothing run, but for the one script of the page, by its digest.",
        "W3C Content Security Policy 3",
    ),
    Threat(
        "callback-page-framed",
        "A hostile page has the callback page in a frame.",
        "It does nothing inside another page.",
        "W3C Content Security Policy 3 (a meta element cannot say frame-ancestors); CWE-1021",
        marked=False,
        browser=True,
    ),
    Threat(
        "code-in-the-history",
        "The code stays in the address bar, in histories and on screenshots.",
        "The page cleans its address at once.",
        "RFC 9700 section 4.3",
        marked=False,
        browser=True,
    ),
    Threat(
        "channel-guessed",
        "Another page on the Jupyter origin, of another user of the hub, listens or speaks for us.",
        "A channel's name cannot be guessed, serves one tab, and takes what it waits for only.",
        "W3C HTML BroadcastChannel; CWE-330",
        marked=False,
        browser=True,
    ),
    Threat(
        "page-leads-to-a-script",
        "A message has the page go to a javascript: or data: address, on Jupyter's own origin.",
        "It leads to http and https addresses only.",
        "MCP 2026-07-28 security best practices, URL schemes",
        marked=False,
        browser=True,
    ),
    Threat(
        "tabnabbing",
        "The authorization server's tab reaches back, and sends the notebook's tab elsewhere.",
        "Links have no opener.",
        "W3C HTML noopener; CWE-1022",
        marked=False,
        browser=True,
    ),
    Threat(
        "widget-state-leak",
        "What a widget synchronises is written into the notebook's file.",
        "The panel's own code is the only trait; everything else goes in messages.",
        "measured: nbconvert and papermill write all traits",
    ),
    Threat(
        "widget-messages-leak",
        "Code, verifier or tokens are in a message, a log or a `repr` of the panel.",
        "None of them leaves the kernel, but for the address that a person opens.",
        "CWE-532; design.md section 3",
        marked=False,
    ),
    Threat(
        "fallback-markup",
        "What stands in for the panel shows a name as HTML or as a shell's words.",
        "It is escaped for the page, and quoted for the shell.",
        "CWE-79; CWE-78",
    ),
    Threat(
        "secret-in-a-repr",
        "A traceback with local variables, a `repr` or a log has a token in it.",
        "A secret shows as three dots, whatever it is in.",
        "CWE-532; RFC 9700 section 4.15",
    ),
    Threat(
        "secret-pickled",
        "A value with a token in it is pickled or turned into JSON.",
        "A secret refuses.",
        "CWE-312; design.md section 3",
    ),
    Threat(
        "session-pickled",
        "A session is cached, or sent to a worker, with the login in it.",
        "It cannot be pickled; the error says to connect there.",
        "CWE-312; measured: it failed by accident, in a lock",
    ),
    Threat(
        "session-copied",
        "Two copies of a session refresh one login: the server takes the second for a thief.",
        "A copy is the same session.",
        "RFC 9700 section 4.14.2",
    ),
    Threat(
        "session-forked",
        "A forked child and its parent both renew a login that is in memory only.",
        "The child uses the token and does not renew it; a login on disk both may renew.",
        "RFC 9700 section 4.14.2",
    ),
    Threat(
        "fork-amid-a-lock",
        "A fork copies a lock that another thread holds, and nobody gives it back.",
        "Locks are free in a forked child.",
        "measured; POSIX fork() copies one thread",
    ),
    Threat(
        "fork-with-a-port",
        "A worker that outlives the sign-in keeps its port: browsers wait there for ever.",
        "A forked child closes it.",
        "measured; POSIX fork() copies descriptors",
    ),
    Threat(
        "fork-amid-a-sign-in",
        "A forked child waits for a sign-in whose thread it has not.",
        "There it counts as ended, and the next one follows the parent's.",
        "measured; POSIX fork() copies one thread",
    ),
    Threat(
        "error-pickled",
        "A worker's error cannot be made again in the parent, and its pool waits for ever.",
        "Every error of ours is pickled as it is.",
        "measured with multiprocessing.Pool",
    ),
)
