"""The device grant (RFC 8628) of a fake server, and the person at the other device."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.fakes.server import FakeServer, Grant
from tests.fakes.wire import Reply, Request

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


class OtherDevice:
    """The device authorization endpoint of a fake, and the person at the other device."""

    def __init__(self, fake: FakeServer) -> None:
        self.fake = fake
        self.answer: dict[str, Any] = {
            "device_code": secrets.token_urlsafe(16),
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{fake.base}/device",
            "verification_uri_complete": f"{fake.base}/device?user_code=WDJB-MJHT",
            "expires_in": 60,
            "interval": 0.05,
        }
        self.says: list[Reply] = []
        """What the token endpoint says before it says what the person decided."""
        self.decision = "authorization_pending"
        self.begun: list[Request] = []
        self.asked_at: list[float] = []
        fake.announce(device_authorization_endpoint=f"{fake.base}/device_authorization")
        fake.routes["/device_authorization"] = self._begin
        self._others = fake.routes["/token"]
        fake.routes["/token"] = self._token

    def _begin(self, request: Request) -> Reply:
        self.begun.append(request)
        refused = self.fake.known_scopes is not None and "scope" in request.form
        return Reply(400, {"error": "invalid_scope"}) if refused else Reply(200, self.answer)

    def _token(self, request: Request) -> Reply:
        if request.form.get("grant_type") != [DEVICE_CODE]:
            return self._others(request)
        self.asked_at.append(time.monotonic())
        if self.says:
            return self.says.pop(0)
        if self.decision != "agreed":
            return Reply(400, {"error": self.decision})
        assert request.form["device_code"] == [self.answer["device_code"]]
        begun = self.begun[-1].form
        scopes = tuple(begun.get("scope", [""])[0].split())
        resource = begun.get("resource", [""])[0]
        grant = Grant(begun["client_id"][0], scopes, resource or None)
        return self.fake._issue(grant, {})  # noqa: SLF001  as any other grant
