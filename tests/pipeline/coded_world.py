"""Synthetic scenes whose pixels say where they lie: each value is a pure function of scene, band, row and column.

Both sides of the check read this file and nothing else: the stand-in service (`coded_service`) samples it, and the
tests work out from a written file's own transform what must lie in it. No code of the product is used.
"""

import dataclasses
import datetime
import functools
import math
import threading

import numpy as np
import pyproj
import shapely

Transform = tuple[float, float, float, float, float, float]
"""Earth Engine's crs_transform: x scale, x shear, x origin, y shear, y scale, y origin; pixel (0, 0)'s outer corner."""

INT_LIMITS = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint32": (0, 4294967295),
    "int32": (-2147483648, 2147483647),
}


@functools.lru_cache(maxsize=256)
def parse_crs(text):
    """The CRS of an authority code, WKT or PROJ text."""
    return pyproj.CRS.from_user_input(text)


@functools.lru_cache(maxsize=1024)
def _transformer(source, target, _thread):
    return pyproj.Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)


def reproject(xs, ys, source, target):
    """Coordinates of `source` (authority codes or WKT; x is east) in `target`."""
    if source == target or parse_crs(source) == parse_crs(target):
        return xs, ys
    return _transformer(source, target, threading.get_ident()).transform(xs, ys)


def code_pixels(dtype, scene, band, rows, cols):
    """The value of each pixel, from its place alone.

    Args:
        dtype: numpy name of the band's type.
        scene: the scene's number in its collection.
        band: the band's number in its collection.
        rows: native rows, any shape.
        cols: native columns, same shape.

    Returns:
        array of `dtype`. Narrow integers run through their whole range, zero and both extremes included. In 16 bits
        and wider a shift by fewer than 100 pixels changes every value (in 8 bits, by fewer than 4). Wide types hold
        row * 100000 + col exactly, which float32 cannot.
    """
    rows = np.asarray(rows, dtype=np.int64)
    cols = np.asarray(cols, dtype=np.int64)
    if dtype in ("uint8", "int8"):
        code = rows * 37 + cols * 101 + scene * 29 + band * 59
        return (code % 256 + INT_LIMITS[dtype][0]).astype(dtype)
    if dtype in ("uint16", "int16"):
        code = rows * 1009 + cols * 30011 + scene * 7919 + band * 12347
        return (code % 65536 + INT_LIMITS[dtype][0]).astype(dtype)
    wide = rows * 100_000 + cols + scene * 17_011 + band * 1_000_003
    if dtype in ("int32", "uint32"):
        return wide.astype(dtype)
    if dtype == "float64":
        return wide + (scene + 1) / 3.0
    if dtype == "float32":
        code = rows * 4099 + cols * 70001 + scene * 7919 + band * 12347
        return ((code % 8_388_593 - 4_194_296) / np.float64(10.0)).astype(np.float32)
    raise ValueError(f"no code for dtype {dtype}")


def code_validity(mask, scene, band, rows, cols):
    """True where a pixel is valid.

    Args:
        mask: "none", "all", "shared" (all bands alike) or "per_band".
        scene: the scene's number.
        band: the band's number.
        rows: native rows.
        cols: native columns, same shape.
    """
    rows = np.asarray(rows, dtype=np.int64)
    cols = np.asarray(cols, dtype=np.int64)
    if mask == "none":
        return np.ones(rows.shape, dtype=bool)
    if mask == "all":
        return np.zeros(rows.shape, dtype=bool)
    salt = scene * 5 + (band * 3 if mask == "per_band" else 0)
    return (rows * 3 + cols * 7 + salt) % 11 != 0


@dataclasses.dataclass(frozen=True)
class CodedBand:
    """A band on its own native grid: `transform` is Earth Engine's order, `shape` is (height, width)."""

    name: str
    number: int
    dtype: str
    crs: str
    transform: Transform
    shape: tuple[int, int]
    mask: str = "none"

    def locate(self, xs, ys, crs):
        """Fractional (row, col) of points of `crs` on this band's grid; pixel (0, 0) spans 0 to 1."""
        xs, ys = reproject(xs, ys, crs, self.crs)
        scale_x, shear_x, x0, shear_y, scale_y, y0 = self.transform
        if shear_x == 0 and shear_y == 0:
            return (ys - y0) / scale_y, (xs - x0) / scale_x
        det = scale_x * scale_y - shear_x * shear_y
        cols = (scale_y * (xs - x0) - shear_x * (ys - y0)) / det
        rows = (scale_x * (ys - y0) - shear_y * (xs - x0)) / det
        return rows, cols

    def sample(self, scene, xs, ys, crs):
        """Nearest neighbour at points of `crs`.

        Returns:
            (values, valid, inside): arrays like `xs`. `valid` is False outside the band's raster and where masked;
            `inside` is False outside the raster only.
        """
        rows, cols = self.locate(np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64), crs)
        finite = np.isfinite(rows) & np.isfinite(cols)
        rows = np.floor(np.where(finite, rows, -1)).astype(np.int64)
        cols = np.floor(np.where(finite, cols, -1)).astype(np.int64)
        inside = (rows >= 0) & (rows < self.shape[0]) & (cols >= 0) & (cols < self.shape[1])
        values = code_pixels(self.dtype, scene, self.number, rows, cols)
        valid = inside & code_validity(self.mask, scene, self.number, rows, cols)
        return values, valid, inside

    @property
    def data_type(self):
        """Earth Engine's description of the type."""
        if self.dtype in INT_LIMITS:
            low, high = INT_LIMITS[self.dtype]
            return {"type": "PixelType", "precision": "int", "min": low, "max": high}
        return {"type": "PixelType", "precision": "double" if self.dtype == "float64" else "float"}

    @property
    def outline(self):
        """The raster's edge as a polygon of the band's own CRS."""
        height, width = self.shape
        scale_x, shear_x, x0, shear_y, scale_y, y0 = self.transform
        corners = [(0, 0), (width, 0), (width, height), (0, height)]
        return shapely.Polygon([(x0 + scale_x * c + shear_x * r, y0 + shear_y * c + scale_y * r) for c, r in corners])


@dataclasses.dataclass(frozen=True)
class CodedScene:
    """One image of a collection; `time_start_ms` and `time_end_ms` are UTC milliseconds."""

    index: str
    number: int
    time_start_ms: int
    bands: tuple[CodedBand, ...]
    version: int = 1_700_000_000_000_000
    properties: dict = dataclasses.field(default_factory=dict, hash=False, compare=False)
    time_end_ms: int | None = None

    @property
    def time_start(self):
        """The moment as an aware UTC datetime."""
        return datetime.datetime.fromtimestamp(self.time_start_ms / 1000, datetime.UTC)

    @property
    def grid_band(self):
        """The band with the finest pixels: its raster is the scene's footprint."""
        return min(self.bands, key=lambda band: abs(band.transform[0]))

    def band(self, name):
        """The band of that name."""
        return next(band for band in self.bands if band.name == name)

    def sample(self, name, xs, ys, crs):
        """Nearest neighbour of one band at points of `crs`: (values, valid, inside)."""
        return self.band(name).sample(self.number, xs, ys, crs)

    @functools.cached_property
    def footprint(self):
        """The finest band's raster as a polygon of longitude and latitude, with its edges followed closely."""
        band = self.grid_band
        outline = shapely.segmentize(band.outline, max_segment_length=band.outline.length / 200)
        return reproject_geometry(outline, band.crs, "EPSG:4326")


@dataclasses.dataclass(frozen=True)
class CodedCollection:
    """An asset: an image collection, or with `single` one image that is its only scene."""

    asset_id: str
    scenes: tuple[CodedScene, ...]
    single: bool = False

    def scene(self, index):
        """The scene with that system:index."""
        return next(scene for scene in self.scenes if scene.index == index)


def reproject_geometry(geometry, source, target):
    """A shapely geometry in another CRS, vertex by vertex."""
    if source == target or parse_crs(source) == parse_crs(target):
        return geometry

    def move(points):
        xs, ys = reproject(points[:, 0], points[:, 1], source, target)
        return np.column_stack([xs, ys])

    return shapely.transform(geometry, move)


def to_milliseconds(text):
    """UTC milliseconds of an ISO 8601 text."""
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)


def make_collection(
    asset_id, crs, transform, shape, dtypes, times, *, mask="shared", coarser=None, single=False, origins=None
):
    """A collection of scenes on one grid (or on shifted ones).

    Args:
        asset_id: such as "CODED/UTM31N".
        crs: native CRS.
        transform: native crs_transform of the finest bands.
        shape: (height, width) of the finest bands.
        dtypes: band name to dtype, in band order.
        times: ISO 8601 start times; scene numbers follow their order.
        mask: see `code_validity`.
        coarser: band name to factor: that band's pixels are so many times larger, on the same corner.
        single: an image asset instead of a collection.
        origins: per scene, an (x, y) corner in place of the transform's.
    """
    coarser = coarser or {}
    scenes = []
    for number, time in enumerate(times):
        x0, y0 = origins[number] if origins else (transform[2], transform[5])
        bands = []
        for band_number, (name, dtype) in enumerate(dtypes.items()):
            factor = coarser.get(name, 1)
            own = (
                transform[0] * factor,
                transform[1] * factor,
                x0,
                transform[3] * factor,
                transform[4] * factor,
                y0,
            )
            size = (math.ceil(shape[0] / factor), math.ceil(shape[1] / factor))
            bands.append(CodedBand(name, band_number, dtype, crs, own, size, mask))
        start = to_milliseconds(time)
        stamp = datetime.datetime.fromtimestamp(start / 1000, datetime.UTC).strftime("%Y%m%dT%H%M%S")
        scenes.append(
            CodedScene(
                index=f"{stamp}_N{number:02d}",
                number=number,
                time_start_ms=start,
                time_end_ms=start,
                bands=tuple(bands),
                version=1_700_000_000_000_000 + number,
                properties={"CLOUDY_PIXEL_PERCENTAGE": float(number * 10), "ORBIT": number % 2, "TILE": f"T{number}"},
            )
        )
    return CodedCollection(asset_id, tuple(scenes), single)
