"""Whether what is on disk is what the ledger says: each product read again, each file accounted for."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import rasterio
import rasterio.errors
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from eeflow.errors import GridError
from eeflow.grid import crs_name, grid_hash, parse_crs
from eeflow.gridfile import AREA_NAME, GRID_NAME, read_grid
from eeflow.ledger import LEDGER_NAME, Entry, Ledger, LedgerError
from eeflow.output import LOCK_NAME
from eeflow.stac import CATALOG_NAME, COLLECTION_NAME, item_name

Problem = Literal["changed", "cut", "lost", "damaged", "wrong", "unknown", "leftover"]
_OWN = {GRID_NAME, AREA_NAME, LEDGER_NAME, CATALOG_NAME, COLLECTION_NAME}
# What eeflow writes, of which each file must belong to a product.
_KINDS = {".tif", ".png", ".json"}


@dataclass(frozen=True)
class Finding:
    """A file that is not as it should be.

    Attributes:
        problem: `changed`: other bytes than were written; `cut`: fewer; `lost`: not there; `damaged`: cannot be read;
            `wrong`: not what the ledger says, though its bytes are those that were written; `unknown`: not in the
            ledger; `leftover`: half-written by a run that was killed, which does no harm.
        text: what exactly.
    """

    path: str
    problem: Problem
    text: str


@dataclass(frozen=True)
class Verdict:
    """What was found in one job's folder.

    Attributes:
        products: products that were read again.
        busy: whether a run is writing there, so that files without a row may be about to get one.
    """

    folder: str
    products: int
    findings: tuple[Finding, ...]
    busy: bool

    @property
    def is_right(self) -> bool:
        """Whether all is as it should be; leftovers do no harm."""
        return all(finding.problem == "leftover" for finding in self.findings)


def verify_folder(folder: Path) -> Verdict:
    """Reads every product of a job's folder again, and says what of it is not as the ledger has it."""
    busy = _is_busy(folder)
    findings: list[Finding] = []
    try:
        rows = Ledger(folder).rows()
    except LedgerError as error:
        return Verdict(str(folder), 0, (Finding(LEDGER_NAME, "damaged", str(error)),), busy)
    grid = None
    try:
        grid = read_grid(folder)
    except GridError as error:
        findings.append(Finding(GRID_NAME, "damaged", str(error)))
    on_disk = [row for row in rows if row.on_disk]
    if on_disk and not (folder / GRID_NAME).exists():
        findings.append(Finding(GRID_NAME, "lost", "the grid of the series is not there"))
    for row in on_disk:
        findings.extend(_check_product(folder, row, grid))
        findings.extend(_check_item(folder, row))
    findings.extend(_strangers(folder, on_disk, busy=busy))
    return Verdict(str(folder), len(on_disk), tuple(sorted(findings, key=lambda found: found.path)), busy)


def _check_product(folder: Path, row: Entry, grid: GeoBox | None) -> Iterator[Finding]:
    path = folder / row.path
    if not path.exists():
        yield Finding(row.path, "lost", f"the ledger has it since {row.written_at}, and the file is not there")
        return
    size = path.stat().st_size
    if row.size is not None and size < row.size:
        yield Finding(row.path, "cut", f"{size:,} bytes of {row.size:,}")
        return
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != row.sha256:
        yield Finding(row.path, "changed", f"its sha256 is {sha256[:12]}..., the ledger's {str(row.sha256)[:12]}...")
        return
    try:
        wrong = list(_contradictions(path, row, grid))
    except rasterio.errors.RasterioError as error:
        yield Finding(row.path, "damaged", f"cannot be read: {error}")
        return
    yield from (Finding(row.path, "wrong", text) for text in wrong)


def _contradictions(path: Path, row: Entry, grid: GeoBox | None) -> Iterator[str]:
    """What a file says of itself against what the ledger and `grid.json` say."""
    with rasterio.open(path) as raster:
        own = GeoBox(raster.shape, raster.transform, parse_crs(raster.crs.to_wkt()))
        tags, bands = raster.tags(), raster.descriptions
        valid = _valid_pixels(raster)
    if grid is not None and row.grid_hash != grid_hash(grid):
        yield f"its grid is {row.grid_hash}, that of {GRID_NAME} {grid_hash(grid)}"
    elif grid is not None and not _same_place(own, grid):
        yield f"it lies at {_place(own)}, {GRID_NAME} says {_place(grid)}"
    for tag, known in (("JOB_HASH", row.job_hash), ("GRID_HASH", row.grid_hash)):
        if tags.get(tag, known) != known:
            yield f"its {tag} is {tags[tag]}, the ledger's {known}"
    if None in bands or len(set(bands)) < len(bands):
        yield f"its bands are {', '.join(str(band) for band in bands)}; each must have a name of its own"
    counts = (row.valid_pixels, row.masked_pixels, row.missed_pixels, row.clipped_pixels)
    if row.valid_pixels is not None and valid != row.valid_pixels:
        yield f"{valid:,} pixels are valid in every band, the ledger counted {row.valid_pixels:,}"
    if None not in counts and sum(count or 0 for count in counts) != own.shape[0] * own.shape[1]:
        yield f"it has {own.shape[0] * own.shape[1]:,} pixels, the ledger counted {sum(c or 0 for c in counts):,}"


def _valid_pixels(raster: Any) -> int:
    """Pixels that are valid in every band, counted block by block."""
    count = 0
    for _, window in raster.block_windows(1):
        count += int((raster.read_masks(window=window) > 0).all(axis=0).sum())
    return count


def _same_place(own: GeoBox, grid: GeoBox) -> bool:
    """Whether two grids have the same pixels; by their corners where GeoTIFF words a CRS its own way."""
    if own.shape != grid.shape or not own.transform.almost_equals(grid.transform, 1e-9):
        return False
    return bool(own.crs == grid.crs or np.allclose(_corners(own), _corners(grid), rtol=0, atol=1e-7))


def _corners(grid: GeoBox) -> NDArray[np.float64]:
    """In longitude and latitude."""
    to_lonlat = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    left, bottom, right, top = grid.boundingbox
    return np.array(to_lonlat.transform([left, right, left, right], [bottom, bottom, top, top]))


def _place(grid: GeoBox) -> str:
    height, width = grid.shape
    return f"{width} x {height} pixels from {grid.transform.c:.10g}, {grid.transform.f:.10g} in {crs_name(grid)[:40]}"


def _check_item(folder: Path, row: Entry) -> Iterator[Finding]:
    """An item is made anew at will, so it only must not say what is wrong."""
    path = folder / item_name(row.path)
    if not path.exists():
        return
    try:
        checksum = json.loads(path.read_text(encoding="utf-8"))["assets"]["data"]["file:checksum"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding(path.name, "damaged", "it is no STAC item")
        return
    if (folder / row.path).exists() and not str(checksum).endswith(str(row.sha256)):
        yield Finding(path.name, "changed", f"it describes another {row.path} than the ledger")


def _strangers(folder: Path, on_disk: Sequence[Entry], *, busy: bool) -> Iterator[Finding]:
    known = set(_OWN)
    for row in on_disk:
        known |= {row.path, Path(row.path).with_suffix(".png").name, item_name(row.path)}
    for path in sorted(folder.iterdir()):
        if busy or path.is_dir() or path.name in known or path.name == LOCK_NAME:
            continue
        if path.name.startswith(".") and ".part" in path.name:
            yield Finding(path.name, "leftover", "half-written by a run that was killed; the next one removes it")
        elif path.suffix in _KINDS and not path.name.startswith("."):
            yield Finding(path.name, "unknown", "it is not in the ledger")


def _is_busy(folder: Path) -> bool:
    """Whether a run holds the folder."""
    try:
        with (folder / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
