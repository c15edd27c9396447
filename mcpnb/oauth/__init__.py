"""OAuth 2.1 as MCP uses it: values, rules without I/O, and the requests of a client."""
