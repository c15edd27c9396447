"""Why signing in does not work, whose side that is on, and what to do. Nothing is changed by it."""

from __future__ import annotations

from mcpnb.doctor.examining import examine, examine_address, examine_machine
from mcpnb.doctor.report import Check, Report

__all__ = ["Check", "Report", "examine", "examine_address", "examine_machine"]
