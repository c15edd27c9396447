"""The official conformance suite, and the client that it tests."""
