"""Servers that no one here wrote, held on loopback, and a small browser to sign in at them."""
