"""Image: where pixels lie: projections, resampling, clipping, and images of coordinates."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from eelocal.algorithms.collection import working_projection
from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.fitting import bounds_in, extent, snapped
from eelocal.grid import Grid, Pixels, alignment, apply, level_transform, pyramid_level, to_pixels
from eelocal.lattice import centres_inside
from eelocal.promote import promote
from eelocal.registry import algorithm
from eelocal.sampling import interpolated, nearest
from eelocal.values.geometry import Geometry, geojson
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import DOUBLE, FLOAT, PixelType
from eelocal.values.projection import WGS84, Projection, transformer

_AROUND = 34_735_060.89  # metres of EPSG:6933 around the Earth
_MODES = ("bilinear", "bicubic")


@algorithm("Image.reproject", keeps="image")
def reproject(image: Image, crs: Projection, crsTransform: list[Any] | None, scale: float | None) -> Image:
    """The image computed in a projection, then looked up from there by the nearest pixel."""
    target = working_projection(crs, crsTransform, scale)
    return image.with_bands([_in_projection(band, target) for band in image.bands])


@algorithm("Image.setDefaultProjection", keeps="image")
def set_default_projection(image: Image, crs: Projection, crsTransform: list[Any] | None, scale: float | None) -> Image:
    """The image with another default projection; pixels are not changed."""
    target = working_projection(crs, crsTransform, scale)
    return image.with_bands([replace(band, projection=target, dimensions=None, origin=None) for band in image.bands])


@algorithm("Image.resample", keeps="image")
def resample(image: Image, mode: str) -> Image:
    """The image, interpolated wherever it is computed in another projection."""
    if mode not in _MODES:
        raise EarthEngineError(f"Resampling mode must be one of {', '.join(_MODES)}. Got '{mode}'.")
    return image.with_bands([_resampled(band, mode) for band in image.bands])


@algorithm("Image.changeProj")
def change_projection(input: Image, srcProj: Projection, dstProj: Projection) -> Image:
    """The image moved: what was at a pixel of one projection is at the same pixel of the other."""

    def moved(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            col, row = to_pixels(dstProj.transform, grid.transform[2], grid.transform[5])
            if grid.crs != dstProj.crs:
                raise EarthEngineError("changeProj can only be computed in the target projection.")
            x, y = apply(srcProj.transform, col, row)
            sx, sy = grid.transform[0] / dstProj.transform[0], grid.transform[4] / dstProj.transform[4]
            transform = (srcProj.transform[0] * sx, 0.0, x, 0.0, srcProj.transform[4] * sy, y)
            return band.pixels(Grid(srcProj.crs, transform, grid.width, grid.height))

        return replace(band.derived(read), projection=dstProj, dimensions=None)

    return input.with_bands([moved(band) for band in input.bands]).with_footprint(None)


@algorithm("Image.clip", keeps="input")
def clip(input: Image, geometry: Any) -> Image:
    """Masked outside a geometry, by pixel centres; the footprint is cut as well."""
    return clipped(input, promote(geometry, "Geometry", "Image.clip, argument 'geometry'"))


@algorithm("Image.clipToCollection", keeps="input")
def clip_to_collection(input: Image, collection: Any) -> Image:
    """Masked outside all geometries of a collection."""
    return clipped(input, promote(collection, "Geometry", "Image.clipToCollection, argument 'collection'"))


@algorithm("Image.clipToBoundsAndScale", keeps="input")
def clip_to_bounds_and_scale(
    input: Image,
    geometry: Geometry | None,
    width: int | None,
    height: int | None,
    maxDimension: int | None,
    scale: float | None,
) -> Image:
    """Cut to the bounds of a geometry, in pixels of a size or in so many pixels; without one, all pixels stay."""
    if not input.bands:
        raise EarthEngineError("The image has no bands.")
    region = geometry or extent(input.bands[0]) or input.geometry
    base = input.bands[0].projection
    if scale is not None:
        base = base.at_scale(scale)
    bounds = bounds_in(region, base.crs)
    projection = _fitted(base, bounds, width, height, maxDimension)
    grid = snapped(projection, bounds)
    anchored = Projection(grid.crs, grid.transform)
    bands = [replace(_in_projection(b, anchored), dimensions=(grid.width, grid.height)) for b in input.bands]
    outline = Geometry(shapely.box(*bounds), base.crs)
    # The footprint keeps the system of the image: geedim's test_prepare_export_collection_buffer.
    properties = {**input.properties, "system:footprint": outline.encode()}
    return input.with_bands(bands).with_footprint(outline.lonlat).with_properties(properties)


@algorithm("Image.pixelLonLat")
def pixel_lon_lat() -> Image:
    """Longitude and latitude of every pixel's centre."""

    def reader(axis: int) -> Any:
        return lambda grid: Pixels(_lonlat(grid)[axis], np.ones(grid.shape, bool))

    limits = (PixelType("double", -180, 180), PixelType("double", -90, 90))
    names = ("longitude", "latitude")
    return Image([Band(name, limits[i], WGS84, reader(i)) for i, name in enumerate(names)])


@algorithm("Image.pixelCoordinates")
def pixel_coordinates(projection: Projection) -> Image:
    """X and y of every pixel's centre, in pixels of a projection."""

    def reader(axis: int) -> Any:
        def read(grid: Grid) -> Pixels:
            x, y = grid.centres()
            if grid.crs != projection.crs:
                x, y = transformer(grid.crs, projection.crs).transform(x, y)
            values = np.asarray(to_pixels(projection.transform, x, y)[axis])
            return Pixels(np.ascontiguousarray(values), np.isfinite(values))

        return read

    return Image([Band(name, DOUBLE, projection, reader(i)) for i, name in enumerate(("x", "y"))])


@algorithm("Image.pixelArea")
def pixel_area() -> Image:
    """Area of every pixel in square metres, on the WGS84 ellipsoid."""

    def read(grid: Grid) -> Pixels:
        return Pixels(_areas(grid), np.ones(grid.shape, bool))

    return Image([Band("area", DOUBLE, WGS84, read)])


@algorithm("Image.random")
def random(seed: int, distribution: str) -> Image:
    """A number from 0 to 1 for every pixel, the same whenever it is asked for."""
    if distribution not in ("uniform", "normal"):
        raise EarthEngineError(f"Distribution must be 'uniform' or 'normal'. Got '{distribution}'.")
    key = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "little")

    def read(grid: Grid) -> Pixels:
        lon, lat = _lonlat(grid)
        values = _hashed(lon, lat, key)
        if distribution == "normal":
            other = np.maximum(_hashed(lat, lon, key), 1e-12)
            values = np.sqrt(-2 * np.log(other)) * np.cos(2 * np.pi * values)
        return Pixels(values, np.ones(grid.shape, bool))

    return Image([Band("random", DOUBLE, WGS84, read)])


def clipped(image: Image, region: Geometry) -> Image:
    """An image masked outside a region."""
    if region.unbounded:
        return image

    def inside(band: Band) -> Band:
        def read(grid: Grid) -> Pixels:
            pixels = band.pixels(grid)
            return Pixels(pixels.values, pixels.valid & centres_inside(region, grid))

        dimensions, origin = _clipped_extent(band, region)
        return replace(band.derived(read), dimensions=dimensions, origin=origin)

    outline = region.lonlat
    whole = image.footprint

    def footprint() -> BaseGeometry:
        return outline if whole is None else whole.intersection(outline)

    properties = {**image.properties, "system:footprint": geojson(outline)}
    bands = [inside(band) for band in image.bands]
    return image.with_bands(bands).with_footprint(footprint).with_properties(properties)


def _clipped_extent(band: Band, region: Geometry) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Dimensions and origin of what is left of a band, as getInfo prints them after a clip."""
    if band.dimensions is None:
        return None, None
    grid = snapped(band.projection, bounds_in(region, band.projection.crs))
    at = alignment(grid, band.projection)
    if at is None:
        return band.dimensions, band.origin
    c0, r0 = max(at[0], 0), max(at[1], 0)
    c1, r1 = min(at[0] + grid.width, band.dimensions[0]), min(at[1] + grid.height, band.dimensions[1])
    return (max(c1 - c0, 0), max(r1 - r0, 0)), ((c0, r0) if (c0, r0) != (0, 0) else None)


def _in_projection(band: Band, target: Projection) -> Band:
    def window(col: int, row: int, width: int, height: int) -> Pixels:
        return band.pixels(Grid(target.crs, target.transform, 1, 1).window(col, row, width, height))

    def read(grid: Grid) -> Pixels:
        aligned = alignment(grid, target)
        return band.pixels(grid) if aligned is not None else nearest(window, target, grid)

    return replace(band.derived(read), projection=target, dimensions=None, origin=None)


def _resampled(band: Band, mode: str) -> Band:
    """A band interpolated from the level of its own pyramid that fits the grid."""

    def read(grid: Grid) -> Pixels:
        width, height = band.dimensions or (2**30, 2**30)
        level = pyramid_level(grid, band.projection, width, height)
        source = Projection(band.projection.crs, level_transform(band.projection.transform, level))
        if alignment(grid, source) is not None:
            return band.pixels(grid)

        def window(col: int, row: int, width: int, height: int) -> Pixels:
            return band.pixels(Grid(source.crs, source.transform, 1, 1).window(col, row, width, height))

        values, valid = interpolated(window, source, grid, mode)
        kind = band.type
        if kind.is_integer:
            values = np.clip(np.rint(values), *kind.bounds)
        return Pixels(values.astype(kind.dtype), valid)

    return band.derived(read, band.type if band.type.is_integer else max(band.type, FLOAT, key=_width))


def _width(kind: PixelType) -> int:
    return kind.dtype.itemsize


def _fitted(
    base: Projection,
    bounds: tuple[float, float, float, float],
    width: int | None,
    height: int | None,
    largest: int | None,
) -> Projection:
    """A projection in which bounds are so many pixels wide, high, or at most so many either way."""
    span_x, span_y = bounds[2] - bounds[0], bounds[3] - bounds[1]
    if width is None and height is None and largest is None:
        return base
    if any(n is not None and n < 1 for n in (width, height, largest)):
        raise EarthEngineError("Dimensions must be positive.")
    if largest is not None:
        size_x = size_y = max(span_x, span_y) / largest
    else:
        size_x = span_x / width if width else span_y / (height or 1)
        size_y = span_y / height if height else size_x
    return Projection(base.crs, (size_x, 0.0, bounds[0], 0.0, -size_y, bounds[3]))


def _lonlat(grid: Grid) -> Any:
    def make() -> Any:
        x, y = grid.centres()
        if grid.crs != "EPSG:4326":
            x, y = transformer(grid.crs, "EPSG:4326").transform(x, y)
        elif max(abs(grid.transform[2]), abs(grid.transform[2] + grid.transform[0] * grid.width)) > 180:
            x = (x + 180) % 360 - 180
        return np.ascontiguousarray(x), np.ascontiguousarray(y)

    return current().remember(("lonlat", grid), make, lambda found: int(found[0].nbytes) * 2)


def _areas(grid: Grid) -> Any:
    """From the corners of each pixel: the area of its quadrilateral on an equal-area sphere of the same latitude."""
    u, v = np.meshgrid(np.arange(grid.width + 1.0), np.arange(grid.height + 1.0))
    x, y = apply(grid.transform, u, v)
    if grid.crs != "EPSG:6933":
        x, y = transformer(grid.crs, "EPSG:6933").transform(x, y)  # cylindrical, equal area, on WGS84
    dx1, dy1 = _short_way(x[1:, 1:] - x[:-1, :-1]), y[1:, 1:] - y[:-1, :-1]
    dx2, dy2 = _short_way(x[:-1, 1:] - x[1:, :-1]), y[:-1, 1:] - y[1:, :-1]
    return np.abs(dx1 * dy2 - dy1 * dx2) / 2


def _short_way(x: Any) -> Any:
    """Differences of x that go no more than half around the Earth."""
    return x - np.round(x / _AROUND) * _AROUND


def _hashed(lon: Any, lat: Any, key: int) -> Any:
    """splitmix64 over the bits of both coordinates, as a number from 0 to 1."""
    mixed = np.round(lon * 1e7).astype(np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed ^ (np.round(lat * 1e7).astype(np.int64).view(np.uint64) * np.uint64(0xBF58476D1CE4E5B9))
    mixed = mixed + np.uint64(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2**64
