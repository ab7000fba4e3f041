"""Fetched pixels, kept as files by content until their product is whole: what makes a run resumable."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eeflow.grid import Window
from eeflow.output import whole_file


@dataclass
class Block:
    """Pixels of one scene in one window.

    Attributes:
        values: by band, arrays of shape (height, width) in the band's dtype; 0 where not valid.
        valid: by band, True where the band has a value.
        seen: True where the scene had a row, be it masked; False where the scene misses the pixel.
    """

    values: dict[str, NDArray[Any]]
    valid: dict[str, NDArray[np.bool_]]
    seen: NDArray[np.bool_]

    @classmethod
    def empty(cls, shape: tuple[int, int], dtypes: dict[str, str]) -> Block:
        """A block with nothing seen yet."""
        return cls(
            {name: np.zeros(shape, dtype) for name, dtype in dtypes.items()},
            {name: np.zeros(shape, bool) for name in dtypes},
            np.zeros(shape, bool),
        )

    def part(self, window: Window, names: Sequence[str]) -> Block:
        """The pixels of a window of the block, in some of its bands."""
        place = np.s_[window.row : window.row + window.height, window.col : window.col + window.width]
        values = {name: self.values[name][place] for name in names}
        return Block(values, {name: self.valid[name][place] for name in names}, self.seen[place])

    def paste(self, part: Block, row: int, col: int) -> None:
        """Puts a smaller block, or further bands of the same pixels, in its place."""
        height, width = part.seen.shape
        place = np.s_[row : row + height, col : col + width]
        for name, values in part.values.items():
            self.values[name][place] = values
            self.valid[name][place] = part.valid[name]
        self.seen[place] |= part.seen


def _without_sign(values: NDArray[Any]) -> NDArray[Any]:
    """Every zero a positive one."""
    return values + 0 if values.dtype.kind == "f" else values


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
        """Writes a block; readers see all of it or nothing. All zeros are positive: JSON need not tell the sign."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {f"values:{name}": _without_sign(values) for name, values in block.values.items()}
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
