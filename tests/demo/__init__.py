"""A raw OAuth client for the tests of the demo's servers."""
