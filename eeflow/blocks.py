"""Fetched pixels, kept as files by content until their product is whole: what makes a run resumable."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eeflow.output import whole_file
from eeflow.region import Block


@dataclass(frozen=True)
class BlockStore:
    """A folder of blocks, named by their key: `ab/abcdef....npz`."""

    folder: Path

    def path(self, key: str) -> Path:
        """Where the block of that key is, or would be."""
        return self.folder / key[:2] / f"{key}.npz"

    def has(self, key: str) -> bool:
        """Whether the block is there; a file under its name is always whole."""
        return self.path(key).exists()

    def save(self, key: str, block: Block) -> None:
        """Writes a block; readers see all of it or nothing."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {f"values:{name}": values for name, values in block.values.items()}
        arrays |= {f"valid:{name}": np.packbits(valid, axis=1) for name, valid in block.valid.items()}
        arrays["seen"] = np.packbits(block.seen, axis=1)
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def load(self, key: str) -> Block | None:
        """The block, or None when it is not there or the disk returns something else than was written."""
        try:
            with np.load(self.path(key)) as arrays:
                if damaged := arrays.zip.testzip():  # numpy reads past a wrong checksum when a header was hit
                    raise zipfile.BadZipFile(damaged)
                values = {name.partition(":")[2]: arrays[name] for name in arrays if name.startswith("values:")}
                width = next(iter(values.values())).shape[1]

                def unpack(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
                    return np.unpackbits(arrays[name], axis=1, count=width).astype(bool)

                valid = {name: unpack(f"valid:{name}") for name in values}
                return Block(values, valid, unpack("seen"))
        except FileNotFoundError:
            return None
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, StopIteration, zipfile.BadZipFile):
            self.path(key).unlink(missing_ok=True)
            return None

    def discard(self, key: str) -> None:
        """Forgets a block whose product is whole."""
        self.path(key).unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.npz"))
