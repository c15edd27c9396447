"""Marked secrets through every feature: none may show anywhere."""
