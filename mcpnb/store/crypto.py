"""The key that opens stored records, and the sealing of one record."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpnb.errors import ConfigError, StoreError, StoreLocked
from mcpnb.store.durable import read_file, write_file

__all__ = [
    "ENVIRONMENT",
    "IN_ENVIRONMENT",
    "IN_FILE",
    "KEY_BYTES",
    "StoreKey",
    "key_from_environment",
    "key_from_file",
    "make_key_file",
]

KEY_BYTES = 32
_NONCE_BYTES = 12
ENVIRONMENT = "MCPNB_STORE_KEY"
IN_ENVIRONMENT = f"key in: {ENVIRONMENT}"
IN_FILE = "key in: a file that only its permissions protect"


class StoreKey:
    """A 256-bit key for AES-GCM, and where it comes from."""

    def __init__(self, key: bytes, where: str) -> None:
        self._aead = AESGCM(key)
        # A fingerprint, so that a record of another key is told from a damaged one.
        self.key_id = hashlib.sha256(b"mcpnb key id" + key).hexdigest()[:16]
        self.where = where

    def __repr__(self) -> str:
        return f"<StoreKey {self.where}>"

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt and authenticate, together with `associated`, under a fresh nonce."""
        # threat: nonce-reuse
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt, if neither the record nor its place was changed.

        Raises:
            StoreError: It was.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except (InvalidTag, ValueError):
            # threat: ciphertext-tampered
            raise StoreError(
                "A stored login is damaged or was moved here from elsewhere. It was left as it is; "
                "sign out of that server and in again."
            ) from None


def key_from_environment() -> StoreKey | None:
    """Take the key from ``MCPNB_STORE_KEY`` (32 bytes, base64url), if it is set.

    Raises:
        ConfigError: It is set to something else.
    """
    text = os.environ.get(ENVIRONMENT)
    if not text:
        return None
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            # threat: store-key-shown
            f"{ENVIRONMENT} has to be 32 bytes in base64url. Make one with: "
            "python -c 'import base64, os; "
            "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )
    return StoreKey(key, IN_ENVIRONMENT)


def key_from_file(path: Path) -> StoreKey | None:
    """Read the key file, if there is one. One that others could have read or made is refused.

    Raises:
        StoreLocked: It cannot be read.
        StoreError: It is no key, is open to others, or is somebody else's.
    """
    try:
        key, mode = read_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreLocked(f"The key file {path} cannot be read: {error.strerror}.") from None
    # threat: key-file-open-to-others
    if mode & 0o077 and os.name == "posix":
        raise StoreError(f"The key file {path} is open to other users. Run: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"The key file {path} is damaged. Without it, stored logins cannot be opened."
        )
    return StoreKey(key, IN_FILE)


def make_key_file(path: Path) -> StoreKey:
    """Make the key file, mode 0600. Call it under a lock.

    Raises:
        StoreError: It cannot be made.
    """
    key = os.urandom(KEY_BYTES)
    try:
        write_file(path, key)
    except OSError as error:
        raise StoreError(f"The key file {path} cannot be made: {error.strerror}.") from None
    return StoreKey(key, IN_FILE)
