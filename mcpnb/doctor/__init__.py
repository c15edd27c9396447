"""Why signing in does not work, whose side that is on, and what to do.

Nothing is changed by it, but for a sign-in that a person asks for.
"""

from __future__ import annotations

from mcpnb.doctor.examining import examine, examine_address, examine_machine
from mcpnb.doctor.report import Check, Report
from mcpnb.doctor.signing_in import SignIn

__all__ = ["Check", "Report", "SignIn", "examine", "examine_address", "examine_machine"]
