"""Tests of the room `login`."""
