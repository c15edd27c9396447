"""Measurements: `python -m tests.bench [NAME...]`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where `tests` can be imported from: for processes that are started elsewhere."""
