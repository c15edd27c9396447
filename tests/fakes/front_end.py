"""The page's side of a panel, without a page: what it says, and all that it is told."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import mcpnb
from mcpnb.panel import Panel
from tests.fakes.people import answer_of

State = dict[str, Any]
LAB = "http://127.0.0.1:8888/lab/extensions/mcpnb/callback.html"
"""Where a Jupyter on this computer serves the page."""
HUB = "https://hub.example.com/user/ada/lab/extensions/mcpnb/callback.html"

_SOON = 15.0
_SHIPPED = {"_esm", "_css"}
"""The page's own code: the only traits that may hold an address."""


def page_at(callback: object, *, served: bool = True, origin: object = None) -> dict[str, Any]:
    """Write what a page says of where it is."""
    if origin is None and isinstance(callback, str):
        origin = "/".join(callback.split("/")[:3])
    given = {"origin": origin, "callback": callback, "served": served}
    return {**given, "secure": True, "top": True}


def say(panel: Panel, content: object, secret: object = None) -> None:
    """Have a message arrive at a panel, by the way that those of a notebook take.

    What is secret comes as a buffer, beside the content; what is no text, as what it is.
    """
    data = {"method": "custom", "content": content}
    buffer = secret.encode() if isinstance(secret, str) else secret
    buffers = (
        [] if secret is None else [memoryview(buffer) if isinstance(buffer, bytes) else buffer]
    )
    panel.comm.handle_msg({"content": {"data": data}, "buffers": buffers})


def open_panel(session: mcpnb.Session, callback: str | None = LAB, **given: Any) -> FrontEnd:
    """Show a session on a page; the page says hello."""
    front = FrontEnd(Panel(session, **given), callback)
    front.hello()
    return front


Show = Callable[..., "FrontEnd"]
"""Shows a session in a panel, as `open_panel` does, until the test ends."""


class FrontEnd:
    """Takes the place of what carries messages: one panel, and as many views as say something."""

    def __init__(self, panel: Panel, callback: str | None = LAB, *, hears: bool = False) -> None:
        """Show a panel; with `hears`, answer when the kernel asks whether anybody is there."""
        self.panel, self._hears = panel, hears
        self.page = page_at(callback, served=callback is not None)
        self.sent: list[dict[str, Any]] = []
        self.kept: set[str] = set()
        """What a notebook's file would have kept, at any moment at which something was sent."""
        self._numbers = itertools.count(1)
        self._news = threading.Condition()
        panel.send = self._take

    def _take(self, content: Any, buffers: Any = None) -> None:
        assert buffers is None
        copy = json.loads(json.dumps(content))
        kept = self.what_is_kept()
        with self._news:
            self.sent.append(copy)
            self.kept.add(kept)
            self._news.notify_all()
        if self._hears and copy["kind"] == "ping":
            self.say("pong")

    def what_is_kept(self) -> str:
        """Give what the notebook's file would keep of the panel now."""
        traits = {k: v for k, v in self.panel.get_state().items() if k not in _SHIPPED}
        return repr(self.panel) + repr(traits)

    # What a page says

    def say(self, kind: str, view: str = "one", secret: object = None, **more: Any) -> int:
        """Send one message; gives its number."""
        number = next(self._numbers)
        say(self.panel, {"kind": kind, "view": view, "id": number, **more}, secret)
        return number

    def hello(self, view: str = "one", page: dict[str, Any] | None = None) -> State:
        """Show it in one more view, or in one again; gives the state that it is sent."""
        before = len(self.states)
        self.say("hello", view, page=page or self.page)
        self._wait_for(lambda: len(self.states) > before)
        return self.state

    def act(self, action: str, view: str = "one", **more: Any) -> None:
        """Do something."""
        self.say("act", view, action=action, **more)

    def click(self, view: str = "one", **more: Any) -> State:
        """Click “Sign in”; gives the state that has the address."""
        own = {"page": self.page, "memory_only": False, "via": "auto"}
        self.act("sign_in", view, **own | more)
        return self.waiting()

    def answer(self, text: object, kind: str = "answer", view: str = "one") -> dict[str, Any]:
        """Hand an answer over; gives the reply to it."""
        number = self.say(kind, view, secret=text)
        self._wait_for(lambda: bool(self.replies(number)))
        [reply] = self.replies(number)
        assert reply["view"] == view
        return reply

    def sign_in(self, **more: Any) -> str:
        """Click and agree; gives the address that was opened."""
        url = str(self.click(**more)["wait"]["url"])
        assert self.answer(answer_of(url))["outcome"] == "done"
        self.phase("signed_in")
        return url

    # What a page sees

    @property
    def states(self) -> list[State]:
        """Every state so far."""
        with self._news:
            return [message["state"] for message in self.sent if message["kind"] == "state"]

    @property
    def state(self) -> State:
        """The one that is shown."""
        return self.states[-1]

    def replies(self, number: int) -> list[dict[str, Any]]:
        """Give the replies to one message."""
        with self._news:
            return [m for m in self.sent if m["kind"] == "reply" and m["id"] == number]

    def wait_for(self, condition: Callable[[State], object]) -> State:
        """Wait until the state fulfils a condition; gives that state."""
        found: list[State] = []

        def fulfilled() -> bool:
            found[:] = [self.state] if self.states and condition(self.state) else []
            return bool(found)

        self._wait_for(fulfilled)
        return found[0]

    def phase(self, *wanted: str) -> State:
        """Wait for one of some phases."""
        return self.wait_for(lambda state: state["phase"] in wanted)

    def waiting(self) -> State:
        """Wait for an address to open."""
        return self.wait_for(lambda state: state["phase"] == "waiting" and state["wait"])

    def noted(self, text: str) -> State:
        """Wait for something to be said beside the state."""
        return self.wait_for(lambda state: any(text in note for note in state["notes"]))

    def heard(self, number: int) -> bool:
        """Whether a message was acknowledged."""
        with self._news:
            return any(m["kind"] == "heard" and m["id"] == number for m in self.sent)

    def close(self) -> None:
        """End what is under way, and go."""
        login = self.panel.session.latest_login
        if login is not None:
            login.cancel()
        self.panel.close()

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        with self._news:
            if self._news.wait_for(condition, _SOON):
                return
            state = self.sent[-1].get("state", self.sent[-1]) if self.sent else {}
        last = {name: value for name, value in state.items() if name not in ("server", "wait")}
        raise AssertionError(f"it did not come about in time; the last that was sent: {last}")
