"""Tests of the room `calls`."""
