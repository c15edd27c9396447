"""Tests of what stands on the ground: text, errors, environment."""
