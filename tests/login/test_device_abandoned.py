"""A sign-in on another device whose process is no more: who goes on with it, and who does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kernels import Kernel
from tests.fakes.server import FakeServer
from tests.login.test_device import OtherDevice


@pytest.fixture
def phone(fake: FakeServer) -> OtherDevice:
    return OtherDevice(fake)


@pytest.mark.parametrize("wanted", [{}, {"via": "loopback"}, {"via": "paste"}])
def test_who_signs_in_with_a_browser_is_not_given_a_code_that_nobody_waits_for(
    phone: OtherDevice, kernel: Kernel, wanted: dict[str, Any]
) -> None:
    left = kernel().login(device=True)
    left.wait_for("waiting", 10)
    left.leave()

    login = kernel().login(**wanted)
    login.wait_for("waiting", 10)

    assert phone.begun
    assert login.user_code is None
    assert login.redirect_uri is not None
    login.cancel()


@pytest.mark.slow
def test_a_panel_that_is_shown_goes_on_with_it(phone: OtherDevice, kernel: Kernel) -> None:
    """Nobody has asked for another way there."""
    left = kernel().login(device=True)
    left.wait_for("waiting", 10)
    left.leave()

    login = kernel().resume()

    assert login is not None
    login.wait_for("waiting", 10)
    assert login.user_code == "WDJB-MJHT"
    phone.decision = "agreed"
    assert login.wait(10).signed_in
