"""Cloud-optimised GeoTIFFs put together from tiles that are compressed already: bytes are moved, none is made anew.

The layout is that of GDAL's COG driver (https://gdal.org/en/stable/drivers/raster/cog.html#file-format-details): a
line for GDAL on what it may rely on, all directories, then tiles, those of the smallest overview first, each between
its size and its last four bytes, and followed by the tile of the mask.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import IO

import numpy as np

# Tags of TIFF 6.0 and GDAL by their names there.
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _SIZES = 254, 256, 257, 322, 323, 324, 325
OVERVIEW, _MASK = 1, 4  # bits of the subfile type
_ENDS = 8  # bytes before and after a tile
_CLASSIC_BYTES = 2**32  # of a TIFF that is no BigTIFF
_BUFFER = 2**20
# What says how pixels are stored. The other tags say what they show, once for the file.
_OF_PIXELS = {254, 256, 257, 258, 259, 262, 277, 284, 317, 320, 322, 323, 324, 325, 338, 339, 42113}
# One bit a pixel, deflated as Adobe does, 1 where the raster is valid: what a mask of GDAL's is.
_OF_A_MASK = {258: 1, 259: 8, 262: 4, 277: 1, 284: 1, 317: 1, 339: 1}
_SHORT, _LONG, _LONG8 = 3, 4, 16
_TYPE_BYTES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), start=1)) | {16: 8, 17: 8, 18: 8}
_NUMBERS = {_SHORT: "<u2", _LONG: "<u4", _LONG8: "<u8"}

_RELIED_ON = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "  # the blank is room for "YES"
)
_RELIED_ON_WITH_MASK = _RELIED_ON + b"MASK_INTERLEAVED_WITH_IMAGERY=YES\n"


class Spool:
    """Compressed tiles of a raster and of its mask, taken in in any order and by any thread."""

    def __init__(self, path: Path, shape: tuple[int, int], side: int):
        """An empty spool.

        Args:
            path: a file for it to fill.
            shape: height and width of the raster.
            side: height and width of its tiles.
        """
        self.shape = shape
        down, self._across = (math.ceil(pixels / side) for pixels in shape)
        self._path = path
        self._found = {kind: [(0, 0)] * (down * self._across) for kind in (0, _MASK)}
        self._appending = threading.Lock()

    def add(self, tiles: Iterable[tuple[int, int, bytes]], masks: Iterable[tuple[int, int, bytes]] = ()) -> None:
        """Takes in tiles, each with its row and column, counted in tiles; and those of the mask."""
        parts = [(0, *tile) for tile in tiles] + [(_MASK, *tile) for tile in masks]
        with self._appending, self._path.open("ab") as file:
            start = file.tell()
            for kind, row, col, content in parts:
                self._found[kind][row * self._across + col] = (start, len(content))
                start += len(content)
            file.writelines(content for *_, content in parts)

    def directories(self, raster: Directory, kind: int = 0, *, masked: bool) -> list[Directory]:
        """The image of all tiles, and its mask where it has one.

        Args:
            raster: what says how pixels are stored.
            kind: added to what the two are.
            masked: whether it has a mask.
        """
        own = raster.tags if not kind else {number: raster.tags[number] for number in _OF_PIXELS & raster.tags.keys()}
        size = {_HEIGHT: _long(self.shape[0]), _WIDTH: _long(self.shape[1])}
        found = [Directory(self._path, kind, own | size | {_SUBFILE_TYPE: _long(kind)}, self._found[0])]
        if masked:
            tags = {number: _short(value) for number, value in _OF_A_MASK.items()} | size
            tags |= {number: raster.tags[number] for number in (_TILE_WIDTH, _TILE_HEIGHT)}
            tags[_SUBFILE_TYPE] = _long(kind | _MASK)
            found.append(Directory(self._path, kind | _MASK, tags, self._found[_MASK]))
        return found


def read_directories(file: IO[bytes], path: Path) -> list[Directory]:
    """Raster, mask and overviews of an open GeoTIFF, whose tiles are in the file of that path."""
    found = []
    for tags in _Format.of(file.read(4)).read(file):
        kind = _numbers(tags[_SUBFILE_TYPE])[0] if _SUBFILE_TYPE in tags else 0
        kept = {number: tag for number, tag in tags.items() if not kind or number in _OF_PIXELS}
        tiles = list(zip(_numbers(tags[_OFFSETS]), _numbers(tags[_SIZES]), strict=True))
        found.append(Directory(path, kind, kept | {_SUBFILE_TYPE: _long(kind)}, tiles))
    return found


def assemble(directories: Sequence[Directory], target: Path) -> str:
    """Writes one cloud-optimised GeoTIFF of a raster, its overviews and their masks; a BigTIFF where it must be.

    Args:
        directories: the raster and its mask, and what they look like from afar, in any order; compressed, with the
            bands of a pixel side by side.
        target: where to.

    Returns:
        The file's SHA-256, in hexadecimal.
    """
    by_size = groupby(sorted(directories, key=lambda each: (each.shape, each.kind)), lambda each: each.shape)
    levels = [list(level) for _, level in by_size]  # the smallest first, each an image and, where it has one, its mask
    form = _Format(big=False)
    end = len(form.head(directories)) + sum(size + _ENDS for each in directories for _, size in each.tiles)
    form = _Format(big=end >= _CLASSIC_BYTES)
    at, placed = len(form.head(directories)), []
    for level in levels:
        moved, at = _placed(level, at)
        placed += moved
    digest = hashlib.sha256()
    with target.open("wb", buffering=_BUFFER) as file:

        def write(content: bytes) -> None:
            file.write(content)
            digest.update(content)

        write(form.head(sorted(placed, key=_rank)))
        for level in levels:
            _move(level, write)
    return digest.hexdigest()


def _rank(directory: Directory) -> tuple[bool, int, int]:
    """GDAL's order of directories: raster and mask, overviews, their masks."""
    height, width = directory.shape
    return directory.kind == (OVERVIEW | _MASK), -height * width, directory.kind


@dataclass(frozen=True)
class Directory:
    """A raster, a mask or an overview in a TIFF.

    Attributes:
        path: the file its tiles are in.
        kind: its subfile type: bits for an overview and for a mask.
        tags: by number, the type of their values and those as bytes.
        tiles: offset and size of each in that file; 0 and 0 for one that was never written.
    """

    path: Path
    kind: int
    tags: dict[int, tuple[int, bytes]]
    tiles: list[tuple[int, int]]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return _numbers(self.tags[_HEIGHT])[0], _numbers(self.tags[_WIDTH])[0]


def _long(number: int) -> tuple[int, bytes]:
    return _LONG, struct.pack("<I", number)


def _short(number: int) -> tuple[int, bytes]:
    return _SHORT, struct.pack("<H", number)


def _numbers(tag: tuple[int, bytes]) -> list[int]:
    kind, payload = tag
    numbers: list[int] = np.frombuffer(payload, _NUMBERS[kind]).tolist()
    return numbers


def _placed(level: Sequence[Directory], at: int) -> tuple[list[Directory], int]:
    """An image and its mask when its tiles begin there, each followed by that of the mask; and where they end."""
    places: list[list[tuple[int, int]]] = [[] for _ in level]
    for tiles in zip(*(each.tiles for each in level), strict=True):
        for (_, size), place in zip(tiles, places, strict=True):
            place.append((at + _ENDS // 2, size) if size else (0, 0))
            at += size + _ENDS if size else 0
    return [replace(each, tiles=place) for each, place in zip(level, places, strict=True)], at


def _move(level: Sequence[Directory], write: Callable[[bytes], None]) -> None:
    """Writes the tiles of an image, each followed by that of its mask, as `_placed` has them."""
    with ExitStack() as stack:
        opened = [stack.enter_context(each.path.open("rb")) for each in level]
        for tiles in zip(*(each.tiles for each in level), strict=True):
            for source, (offset, size) in zip(opened, tiles, strict=True):
                if size:
                    source.seek(offset)
                    pixels = source.read(size)
                    write(b"".join((struct.pack("<I", size), pixels, pixels[-4:])))


class _Format:
    """How a TIFF, or a BigTIFF, stores its directories; little-endian, as GDAL writes here."""

    def __init__(self, big: bool):
        self.big = big
        self.count, self.entry, self.pointer = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
        self.inline = struct.calcsize(self.pointer)

    @classmethod
    def of(cls, magic: bytes) -> _Format:
        """The format of a file that begins so."""
        return cls(big=magic == b"II\x2b\x00")

    def read(self, file: IO[bytes]) -> Iterator[dict[int, tuple[int, bytes]]]:
        """The tags of each directory, in the file's order."""
        file.seek(8 if self.big else 4)
        while at := self._unpack(self.pointer, file)[0]:
            file.seek(at)
            count = self._unpack(self.count, file)[0]
            entries = [(self._unpack(self.entry, file), file.read(self.inline)) for _ in range(count)]
            after = file.tell()
            tags = {}
            for (number, kind, length), value in entries:
                size = length * _TYPE_BYTES[kind]
                if size > self.inline:
                    file.seek(struct.unpack(self.pointer, value)[0])
                    value = file.read(size)  # noqa: PLW2901  what the entry only pointed to
                tags[number] = (kind, value[:size])
            yield tags
            file.seek(after)

    def _unpack(self, layout: str, file: IO[bytes]) -> tuple[int, ...]:
        return struct.unpack(layout, file.read(struct.calcsize(layout)))

    def head(self, directories: Sequence[Directory]) -> bytes:
        """All that comes before the first tile."""
        has_mask = any(each.kind & _MASK for each in directories)
        relied_on = _RELIED_ON_WITH_MASK if has_mask else _RELIED_ON
        line = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(relied_on) + relied_on
        first = (16 if self.big else 8) + len(line)
        first += first % 2
        start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if self.big else struct.pack("<2sHI", b"II", 42, first)
        head = (start + line).ljust(first, b"\0")
        for directory in directories:
            head += self._directory(directory, len(head), is_last=directory is directories[-1])
        return head

    def _directory(self, directory: Directory, at: int, is_last: bool) -> bytes:
        where = (_LONG8, "<u8") if self.big else (_LONG, "<u4")
        tables = {
            _OFFSETS: (where[0], np.array([offset for offset, _ in directory.tiles], where[1]).tobytes()),
            _SIZES: (_LONG, np.array([size for _, size in directory.tiles], "<u4").tobytes()),
        }
        tags = sorted((directory.tags | tables).items())
        values_at = at + struct.calcsize(self.count) + len(tags) * (struct.calcsize(self.entry) + self.inline)
        values_at += self.inline  # where the pointer to the next directory is
        entries, values = b"", b""
        for number, (kind, payload) in tags:
            entries += struct.pack(self.entry, number, kind, len(payload) // _TYPE_BYTES[kind])
            if len(payload) <= self.inline:
                entries += payload.ljust(self.inline, b"\0")
            else:
                entries += struct.pack(self.pointer, values_at + len(values))
                values += payload + b"\0" * (len(payload) % 2)
        following = 0 if is_last else values_at + len(values)
        return struct.pack(self.count, len(tags)) + entries + struct.pack(self.pointer, following) + values
