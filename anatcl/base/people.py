"""Participants by the hash of their names, for files that leave the house."""

from __future__ import annotations

import hashlib


def hashed(participant: str) -> str:
    """SHA-256 of a participant's identifier, in hexadecimal."""
    return hashlib.sha256(participant.encode()).hexdigest()
