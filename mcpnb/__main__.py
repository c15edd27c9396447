"""``python -m mcpnb``: the same as the command ``mcpnb``."""

from mcpnb.cli import main

if __name__ == "__main__":
    main()
