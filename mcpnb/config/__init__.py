"""Configuration files in the formats of Codex and Claude Code, read into values.

A project's files count only after a person has looked at them. Otherwise the author of a repository
could send this person's logins elsewhere.
"""

from mcpnb.config.edit import add_server, has_server, remove_server, user_file
from mcpnb.config.files import project_files
from mcpnb.config.parse import Broken
from mcpnb.config.read import Configuration, read_configuration, review
from mcpnb.config.trust import Review, withdraw

__all__ = [
    "Broken",
    "Configuration",
    "Review",
    "add_server",
    "has_server",
    "project_files",
    "read_configuration",
    "remove_server",
    "review",
    "user_file",
    "withdraw",
]
