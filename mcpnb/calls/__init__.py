"""Calls of a signed-in MCP server: the one home of the MCP SDK.

The client stays connected on one background loop; what goes wrong comes out as our own errors. Its
parts are imported where they are used: the SDK alone takes half a second.
"""
