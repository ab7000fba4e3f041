"""Integer hashes: the only source of chance in the generated world, the same on every machine and in every process."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK = 0xFFFFFFFF


def mix(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Well mixed 32 bits of each value: the `lowbias32` finaliser (https://nullprogram.com/blog/2018/07/31/)."""
    out = values ^ (values >> np.uint32(16))
    out *= np.uint32(0x7FEB352D)
    out ^= out >> np.uint32(15)
    out *= np.uint32(0x846CA68B)
    out ^= out >> np.uint32(16)
    return out


def fold(indices: NDArray[Any], seed: int | NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hash of whole numbers (negative ones too) under a seed; chain calls to hash several coordinates."""
    key = np.uint32(seed & _MASK) if isinstance(seed, int) else seed
    return mix((indices.astype(np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)) ^ key)


def lattice_hash(rows: NDArray[Any], columns: NDArray[Any], seed: int) -> NDArray[np.uint32]:
    """Hash of every node of a lattice, shape (rows, columns)."""
    return fold(columns[None, :], fold(rows, seed)[:, None])


def unit(hashes: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Hashes as numbers in [0, 1), 24 bits each so that float32 holds them exactly."""
    return (hashes >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def scalar_hash(*parts: int | str) -> int:
    """One 32-bit number for a few whole numbers and words."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def scalar_unit(*parts: int | str) -> float:
    """One number in [0, 1) for a few whole numbers and words."""
    return scalar_hash(*parts) * 2.0**-32
