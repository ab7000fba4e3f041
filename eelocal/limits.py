"""How large the values of an evaluation may be: twice that must be possible without harm, as doubling goes unseen."""

from __future__ import annotations

from typing import Any

from eelocal.errors import OutOfMemory

MAX_PIXELS = 2**24  # of a band at once: 128 MiB of doubles, and an operation needs several
MAX_LENGTH = 4_000_000  # elements of a list or dictionary
MAX_TEXT = 32 * 2**20  # characters of a string


def check_size(value: Any) -> None:
    """Raises Earth Engine's memory error for a list, dictionary or string that is too large."""
    kind = type(value)
    if (kind is str and len(value) > MAX_TEXT) or (kind in (list, dict) and len(value) > MAX_LENGTH):
        raise OutOfMemory
