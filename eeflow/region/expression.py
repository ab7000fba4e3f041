"""What is asked of getRegion: the images, the bands and the pixels of a request, as an expression."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import ee
from odc.geo.geobox import GeoBox

from eeflow.grid import crs_name
from eeflow.packing import Column, columns_of, packed
from eeflow.series import Request, Series

# Images that are named one by one in a request, whose expression may weigh 10 MiB; more are found by a search.
_MOST_LISTED = 1_000
# The rectangle's edges lie this far inside the window's, in pixels: a rounding error then takes in no further row, and
# every centre stays half a pixel inside.
INSET = 1e-3


def region_expression(series: Series, request: Request) -> ee.ComputedObject:
    """The getRegion call for a request, on the series' own grid."""
    crs = ee.Projection(crs_name(series.grid))
    window = request.window.of(series.grid)
    geometry = _points(window, crs) if series.region == "points" else _rectangle(window, crs)
    images = _images(series, request)
    if series.packing:
        images = packed(images, columns(series, request.bands))
    return images.getRegion(geometry, crs=crs, crsTransform=list(series.grid.transform)[:6])


def _images(series: Series, request: Request) -> ee.ImageCollection:
    if series.is_image:
        image = series.image(request.image_ids[0])
        return ee.ImageCollection.fromImages([series.recipe.single(series.source, image, request.bands)])
    if is_numbered(series, request):
        made = [
            series.recipe.image(series.source, series.image(image_id), request.bands).set("system:index", str(number))
            for number, image_id in enumerate(request.image_ids)
        ]
        return ee.ImageCollection.fromImages(made)
    collection = ee.ImageCollection(series.source)
    times = [series.image(image_id).time_start for image_id in request.image_ids]
    known = [time for time in times if time is not None]
    if len(known) == len(times):  # narrows the search; the ids below decide
        start, end = min(known), max(known) + timedelta(seconds=1)
        collection = collection.filterDate(f"{start:%Y-%m-%dT%H:%M:%S}", f"{end:%Y-%m-%dT%H:%M:%S}")
    chosen = collection.filter(ee.Filter.inList("system:index", list(request.image_ids)))
    return chosen.select(list(request.bands))


def is_numbered(series: Series, request: Request) -> bool:
    """Whether images go by their number in the request: those that are made, and others to shorten their rows."""
    return not series.recipe.is_plain or (series.packing and len(request.image_ids) <= _MOST_LISTED)


def columns(series: Series, bands: Sequence[str]) -> tuple[Column, ...]:
    """The bands by column of the rows: each its own, or several packed together."""
    types = [series.band(name) for name in bands]
    return columns_of(types) if series.packing else tuple((band,) for band in types)


def _rectangle(window: GeoBox, crs: ee.Projection) -> ee.Geometry:
    """As a polygon, the form in which the client sends all rectangles that have no CRS of their own."""
    height, width = window.shape
    left, top = window.transform @ (INSET, INSET)
    right, bottom = window.transform @ (width - INSET, height - INSET)
    return ee.Geometry.Polygon([[[left, top], [left, bottom], [right, bottom], [right, top]]], crs, False)


def _points(window: GeoBox, crs: ee.Projection) -> ee.Geometry:
    """A point at each pixel's centre, laid out by Earth Engine itself: the original method, its points moved home."""
    height, width = window.shape
    x, y = window.transform @ (0.5, 0.5)
    xs = ee.List.sequence(x, None, window.transform.a, width)
    ys = ee.List.sequence(y, None, window.transform.e, height)

    def point_row(northing: Any) -> ee.FeatureCollection:
        return ee.FeatureCollection(xs.map(lambda easting: ee.Feature(ee.Geometry.Point([easting, northing], crs))))

    return ee.FeatureCollection(ys.map(point_row)).flatten().geometry()
