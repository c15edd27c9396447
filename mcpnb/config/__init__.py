"""Configuration files, as Codex and Claude Code have them, to values (design section 4).

Files of a project count only once a person has looked at them: whoever wrote a repository could
otherwise lead this person's logins elsewhere.
"""

from mcpnb.config.edit import add_server, has_server, remove_server, user_file
from mcpnb.config.files import project_files
from mcpnb.config.parse import Broken
from mcpnb.config.read import Configuration, read_configuration
from mcpnb.config.review import Review, review
from mcpnb.config.trust import withdraw

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
