"""The pixel grid of a series: one `GeoBox`, snapped to the collection's own pixels, cut into windows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyproj
import pyproj.exceptions
from affine import Affine
from odc.geo.geobox import GeoBox

from eeflow.aoi import AOI
from eeflow.config import digest
from eeflow.errors import GridError
from eeflow.options import GridOptions

# Earth Engine's own ratio between metres and degrees, bit for bit: degrees = math.degrees(metres / radius).
EARTH_RADIUS = 6378137.0
# Where an edge of the area lies closer than this to an edge between pixels, they are the same: coordinates that went
# through a projection carry noise of about 1e-9 pixel.
SNAP_TOLERANCE = 1e-6
# CRSs that Earth Engine knows by a name PROJ does not have.
_NAMED = {
    "SR-ORG:6974": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
    "SR-ORG:6842": "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
}


@dataclass(frozen=True)
class PixelLattice:
    """Where the pixels of an image lie, without its extent: CRS, pixel size and one outer corner.

    Attributes:
        crs: as Earth Engine names it.
        x_resolution: width of a pixel in CRS units, positive.
        y_resolution: height of a pixel in CRS units, positive.
        x_origin: x of any left edge.
        y_origin: y of any upper edge.
        rotated: whether the pixels are sheared or rotated against the CRS's axes.
    """

    crs: str
    x_resolution: float
    y_resolution: float
    x_origin: float = 0.0
    y_origin: float = 0.0
    rotated: bool = False

    @classmethod
    def of(cls, crs: str, crs_transform: Sequence[float]) -> PixelLattice:
        """The lattice of Earth Engine's `crs_transform` (scale x, shear x, x, shear y, scale y, y)."""
        a, b, c, d, e, f = crs_transform
        return cls(crs, math.hypot(a, d), math.hypot(b, e), c, f, rotated=bool(b or d))

    def metres(self) -> float:
        """Nominal pixel width in metres, by Earth Engine's rule for degrees."""
        return pixel_metres(self.crs, Affine.scale(self.x_resolution))


def build_grid(options: GridOptions, aoi: AOI, native: PixelLattice) -> GeoBox:
    """The grid all products of a job share: north up, snapped outward so that it holds the whole area.

    On the collection's own CRS the pixels are the collection's own, or share their corner when a resolution is given.
    Elsewhere pixel edges are whole multiples of the resolution from the CRS's origin, as Earth Engine's `scale` does.

    Args:
        options: the job's `grid`.
        aoi: the area; its bounds in the grid's CRS decide the extent.
        native: pixels of the finest chosen band.

    Raises:
        GridError: the CRS is unknown, or the collection's own pixels are asked for and lie rotated.
        AOIError: the area has no coordinates in that CRS.
    """
    crs = _target_crs(options.crs, aoi, native)
    if own := own_grid(options, aoi, crs):
        return own
    lattice = _lattice(crs, options.resolution, native)
    bounds = aoi.to_crs(crs).bounds
    col, row, width, height = snap(bounds, lattice)
    transform = Affine(
        lattice.x_resolution,
        0,
        lattice.x_origin + col * lattice.x_resolution,
        0,
        -lattice.y_resolution,
        lattice.y_origin - row * lattice.y_resolution,
    )
    return GeoBox((height, width), transform, crs)


def own_grid(options: GridOptions, aoi: AOI, crs: pyproj.CRS) -> GeoBox | None:
    """The grid that a job gives whole, in that CRS; None where it gives none.

    Raises:
        GridError: it does not meet the area; it may be larger or smaller.
    """
    if options.transform is None or options.shape is None:
        return None
    grid = GeoBox(options.shape, Affine(*options.transform), crs)
    left, bottom, right, top = aoi.to_crs(parse_crs(crs_name(grid))).bounds
    box = grid.boundingbox
    if right <= box.left or left >= box.right or top <= box.bottom or bottom >= box.top:
        raise GridError(
            f"grid.transform and grid.shape lie at {[box.left, box.bottom, box.right, box.top]}, away from the area at "
            f"{[left, bottom, right, top]} (left, bottom, right, top in {crs_name(grid)})."
        )
    return grid


def snap(bounds: tuple[float, float, float, float], lattice: PixelLattice) -> tuple[int, int, int, int]:
    """The smallest block of whole pixels that holds `bounds` (left, bottom, right, top).

    Returns:
        col, row, width, height: `col` is the greatest column whose left edge is at or left of `left`, `col + width` the
        smallest whose left edge is at or right of `right`; rows count down from the lattice's upper edge in the same
        way. Edges within `SNAP_TOLERANCE` of a pixel's edge count as on it. Width and height are at least 1.
    """
    left, bottom, right, top = bounds
    col, col_end = _snap_axis(
        (left - lattice.x_origin) / lattice.x_resolution, (right - lattice.x_origin) / lattice.x_resolution
    )
    row, row_end = _snap_axis(
        (lattice.y_origin - top) / lattice.y_resolution, (lattice.y_origin - bottom) / lattice.y_resolution
    )
    return col, row, col_end - col, row_end - row


def _snap_axis(low: float, high: float) -> tuple[int, int]:
    start = math.floor(low + SNAP_TOLERANCE)
    return start, max(start + 1, math.ceil(high - SNAP_TOLERANCE))


@dataclass(frozen=True, order=True)
class Window:
    """A block of a grid's pixels: first row and column, height and width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def of(self, grid: GeoBox) -> GeoBox:
        """The window's own grid."""
        transform = grid.transform @ Affine.translation(self.col, self.row)
        return GeoBox((self.height, self.width), transform, grid.crs)

    def overlap(self, other: Window) -> Window | None:
        """The pixels that are in both; None where there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row + self.height, other.row + other.height) - row
        width = min(self.col + self.width, other.col + other.width) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def around(self, other: Window) -> Window:
        """The smallest window that holds both."""
        row, col = min(self.row, other.row), min(self.col, other.col)
        height = max(self.row + self.height, other.row + other.height) - row
        width = max(self.col + self.width, other.col + other.width) - col
        return Window(row, col, height, width)

    def quarters(self) -> list[Window]:
        """The window cut in four, or in two where it is one pixel high or wide; itself when it is one pixel."""
        rows = _halves(self.row, self.height)
        cols = _halves(self.col, self.width)
        return [Window(row, col, height, width) for row, height in rows for col, width in cols]


def _halves(start: int, size: int) -> list[tuple[int, int]]:
    half = (size + 1) // 2
    return [(start, half), (start + half, size - half)] if size > 1 else [(start, size)]


def windows(grid: GeoBox, height: int, width: int) -> Iterator[Window]:
    """Windows of at most `height` x `width` pixels that cover the grid, row by row."""
    rows, cols = grid.shape
    for row in range(0, rows, height):
        for col in range(0, cols, width):
            yield Window(row, col, min(height, rows - row), min(width, cols - col))


def grid_hash(grid: GeoBox) -> str:
    """Hash of CRS, transform and shape."""
    return digest([crs_name(grid), list(grid.transform)[:6], list(grid.shape)])[:16]


def crs_name(grid: GeoBox) -> str:
    """The grid's CRS as Earth Engine takes it: a code where there is one, else WKT."""
    return _crs_name(grid.crs.to_wkt())


@lru_cache(maxsize=64)
def _crs_name(wkt: str) -> str:
    crs = pyproj.CRS.from_wkt(wkt)
    authority = crs.to_authority(min_confidence=100)
    if authority:
        return ":".join(authority)
    named = (name for name, definition in _NAMED.items() if crs.equals(pyproj.CRS.from_user_input(definition)))
    return next(named, crs.to_wkt("WKT1_GDAL"))


def parse_crs(text: str) -> pyproj.CRS:
    """The CRS of a code, WKT or PROJ text, also under names only Earth Engine uses.

    Raises:
        GridError: there is no such CRS.
    """
    try:
        return pyproj.CRS.from_user_input(_NAMED.get(text, text))
    except pyproj.exceptions.CRSError:
        raise GridError(f"{text!r} is no known CRS; grid.crs is native, utm, or a CRS such as EPSG:3035.") from None


def _target_crs(text: str, aoi: AOI, native: PixelLattice) -> pyproj.CRS:
    if text == "native":
        return parse_crs(native.crs)
    if text == "utm":
        return _utm(aoi)
    crs = parse_crs(text)
    if not (crs.is_projected or crs.is_geographic):
        raise GridError(f"{text} ({crs.name}) is not a CRS of the Earth's surface in two dimensions.")
    return crs


def _utm(aoi: AOI) -> pyproj.CRS:
    west, south, east, north = aoi.lonlat.bounds
    lon, lat = (west + east) / 2, (south + north) / 2
    if not -80 <= lat <= 84:
        raise GridError(f"UTM ends at 80 S and 84 N, and the area is at latitude {lat:.2f}; give a polar grid.crs.")
    zone = min(int((lon + 180) // 6) + 1, 60)
    return pyproj.CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _lattice(crs: pyproj.CRS, resolution: float | None, native: PixelLattice) -> PixelLattice:
    if crs == parse_crs(native.crs):
        if native.rotated and resolution is None:
            raise GridError(
                f"The collection's own pixels lie rotated in {native.crs}, which a north-up GeoTIFF cannot keep. Give "
                "grid.resolution, or another grid.crs."
            )
        x, y = (resolution, resolution) if resolution else (native.x_resolution, native.y_resolution)
        return PixelLattice(native.crs, x, y, native.x_origin, native.y_origin)
    size = resolution or _units(native.metres(), crs)
    return PixelLattice(crs.to_string(), size, size)


def pixel_metres(crs: str, transform: Affine) -> float:
    """Nominal width of a pixel in metres, by Earth Engine's rule for degrees."""
    return math.hypot(transform.a, transform.d) * _metres_per_unit(parse_crs(crs))


def _metres_per_unit(crs: pyproj.CRS) -> float:
    if crs.is_geographic:
        return math.radians(1) * EARTH_RADIUS
    return float(crs.axis_info[0].unit_conversion_factor)


def _units(metres: float, crs: pyproj.CRS) -> float:
    return math.degrees(metres / EARTH_RADIUS) if crs.is_geographic else metres / _metres_per_unit(crs)
