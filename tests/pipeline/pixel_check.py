"""Proves a written GeoTIFF pixel by pixel: what must lie there is worked out from the file's own transform and CRS."""

import hashlib
import re

import numpy as np
import pyproj
import rasterio
import shapely
from coded_world import reproject, reproject_geometry

EDGE = 1e-6
"""Centres nearer than this (in native pixels) to a native edge have no one right answer; no case may have any."""
HAIR = 1e-3
"""Edges of an area are compared to this part of a pixel."""


class WrongRaster(AssertionError):
    """A file that is not what its pixels' places say."""


def require(condition, text):
    """Raise `WrongRaster` unless the condition holds."""
    if not condition:
        raise WrongRaster(text)


def product_stamp(path):
    """The YYYYMMDDTHHMMSS of a product's name."""
    found = re.search(r"_(\d{8}T\d{6})(?:_\d+)?\.tif$", path.name)
    require(found is not None, f"{path.name} has no time stamp")
    return found.group(1)


def scene_of(path, collection):
    """The one scene whose time is in the file's name; with a second's twins, the one its tags name."""
    stamp = product_stamp(path)
    scenes = [scene for scene in collection.scenes if scene.time_start.strftime("%Y%m%dT%H%M%S") == stamp]
    if len(scenes) > 1:
        with rasterio.open(path) as source:
            text = " ".join(source.tags().values())
        scenes = [scene for scene in scenes if scene.index in text]
    require(len(scenes) == 1, f"{path.name} belongs to {len(scenes)} scenes")
    return scenes[0]


def expected_pixels(source, scene, name):
    """(values, valid) of one band of a scene at every pixel centre of an open raster."""
    cols, rows = np.meshgrid(np.arange(source.width) + 0.5, np.arange(source.height) + 0.5)
    a, b, c, d, e, f = source.transform[:6]
    xs, ys = c + cols * a + rows * b, f + cols * d + rows * e
    band = scene.band(name)
    crs = source.crs.to_wkt()
    native_rows, native_cols = band.locate(xs.ravel(), ys.ravel(), crs)
    for places in (native_rows, native_cols):
        ties = np.abs(places - np.round(places)) < EDGE
        require(not ties.any(), f"{ties.sum()} pixel centres of this case lie on native edges: choose another grid")
    values, valid, _ = band.sample(scene.number, xs.ravel(), ys.ravel(), crs)
    return values.reshape(cols.shape), valid.reshape(cols.shape)


def check_pixels(path, scene, bands, dtype=None):
    """Every pixel and every mask bit of a product.

    Args:
        path: the GeoTIFF.
        scene: the coded scene it must hold.
        bands: names in the job's order.
        dtype: the type the file must have; None: one that holds every band's values.
    """
    with rasterio.open(path) as source:
        require(source.descriptions == tuple(bands), f"bands are {source.descriptions}, not {tuple(bands)}")
        kinds = {scene.band(name).dtype for name in bands}
        for found in source.dtypes:
            if dtype or len(kinds) == 1:
                require(found == (dtype or kinds.copy().pop()), f"dtype {found}, not {dtype or kinds}")
            require(all(np.can_cast(kind, found) for kind in kinds), f"dtype {found} does not hold {kinds}")
        read = source.read(masked=True)
        plain = source.read()
        for number, name in enumerate(bands):
            values, valid = expected_pixels(source, scene, name)
            mask = np.ma.getmaskarray(read)[number]
            _require_equal(path, name, "mask", ~valid, mask, np.ones_like(valid))
            _require_equal(path, name, "value", values, plain[number], valid)
            band_mask = source.read_masks(number + 1) != 0
            _require_equal(path, name, "band mask", valid, band_mask, np.ones_like(valid))


def _require_equal(path, band, what, wanted, found, where):
    wrong = where & (wanted != found)
    if wrong.any():
        row, col = np.argwhere(wrong)[0]
        raise WrongRaster(
            f"{path.name}, band {band}: {wrong.sum()} of {where.sum()} pixels have a wrong {what}; the first is row "
            f"{row}, column {col}: {found[row, col]} where {wanted[row, col]} belongs"
        )


def bounds_in(area, area_crs, crs):
    """Bounds of an area (planar in its own CRS) in another CRS, its edges followed closely."""
    dense = shapely.segmentize(area, area.length / 2000 or 1)
    return reproject_geometry(dense, area_crs, crs).bounds


def check_extent(path, area, area_crs):
    """The raster holds the area and exceeds it by less than a pixel on each side.

    Returns:
        (height, width) of the raster.
    """
    with rasterio.open(path) as source:
        crs = source.crs.to_wkt()
        left, bottom, right, top = bounds_in(area, area_crs, crs)
        size_x, size_y = abs(source.transform.a), abs(source.transform.e)
        x0, x1 = sorted((source.bounds.left, source.bounds.right))
        y0, y1 = sorted((source.bounds.bottom, source.bounds.top))
        over = {
            "left": (left - x0) / size_x,
            "bottom": (bottom - y0) / size_y,
            "right": (x1 - right) / size_x,
            "top": (y1 - top) / size_y,
        }
        for side, pixels in over.items():
            require(pixels > -HAIR, f"{path.name}: the area sticks out {-pixels:.4f} pixels on the {side}")
            require(pixels < 1 + HAIR, f"{path.name}: the raster exceeds the area by {pixels:.4f} pixels on the {side}")
        return source.height, source.width


def check_alignment(path, band):
    """The raster's pixels are native pixels, not merely as large."""
    with rasterio.open(path) as source:
        require(pyproj.CRS.from_wkt(source.crs.to_wkt()) == pyproj.CRS(band.crs), f"CRS {source.crs} is not native")
        a, b, c, d, e, f = source.transform[:6]
        scale_x, _, x0, _, scale_y, y0 = band.transform
        require((b, d) == (0, 0), "the raster is sheared")
        require(abs(abs(a / scale_x) - 1) < 1e-12, f"pixel width {a!r} is not the native {scale_x!r}")
        require(abs(abs(e / scale_y) - 1) < 1e-12, f"pixel height {e!r} is not the native {scale_y!r}")
        for name, offset in (("columns", (c - x0) / scale_x), ("rows", (f - y0) / scale_y)):
            away = abs(offset - round(offset))
            require(away < 1e-5, f"{path.name}: {away:.7f} pixels off the native {name}")


def check_tags(path, collection, scene):
    """The file names its collection, its scene and the scene's version."""
    with rasterio.open(path) as source:
        text = " ".join(f"{key}={value}" for key, value in source.tags().items())
    for wanted in (collection.asset_id, scene.index, str(scene.version)):
        require(wanted in text, f"{path.name}: no tag holds {wanted}: {text[:300]}")


def sha256_of(path):
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def centre_of(transform, row, col, crs, target="EPSG:4326"):
    """A native pixel's centre in another CRS."""
    return reproject(transform[2] + (col + 0.5) * transform[0], transform[5] + (row + 0.5) * transform[4], crs, target)
