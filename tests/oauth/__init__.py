"""Tests of the room `oauth`."""
