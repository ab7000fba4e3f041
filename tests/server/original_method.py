"""The method eeflow grew from, as people write it: one band of one image of one small area, about forty lines.

Kept as a reference, faults and all. Its points are the AOI's lower-left corner and steps from there, but the raster is
written as if they were the upper-left corners of pixels counted from the AOI's upper left: the picture is shifted by up
to a pixel. `test_original_method.py` shows by how much, and that eeflow gives the same values at their true places.
"""

import ee
import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin


def original_method(aoi_path, crs, collection, band, pixel, path):
    """Downloads one band of a collection's images over a polygon's bounds; returns the array it writes.

    Args:
        aoi_path: vector file with one polygon.
        crs: projected CRS to work in, such as "EPSG:32631".
        collection: an ee.ImageCollection that holds one image.
        band: name of the band.
        pixel: pixel size in metres.
        path: GeoTIFF to write.
    """
    minx, miny, maxx, maxy = gpd.read_file(aoi_path).to_crs(crs).total_bounds
    projection = ee.Projection(crs)
    xs = ee.List.sequence(minx, maxx, pixel)
    ys = ee.List.sequence(miny, maxy, pixel)

    def row_of_points(y):
        return ee.FeatureCollection(xs.map(lambda x: ee.Feature(ee.Geometry.Point([x, y], projection))))

    points = ee.FeatureCollection(ys.map(row_of_points)).flatten()
    rows = collection.select(band).getRegion(points.geometry(), pixel, crs).getInfo()
    frame = pd.DataFrame(rows[1:], columns=rows[0]).drop(columns=["id", "time"])

    len_x = len(np.arange(minx, maxx + 1e-9, pixel))
    len_y = len(np.arange(miny, maxy + 1e-9, pixel))
    values = frame[band].to_numpy(dtype=np.float32).reshape(len_y, len_x)
    values = np.flip(values, axis=0)

    transform = from_origin(minx, maxy, pixel, pixel)
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": len_y, "width": len_x}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as raster:
        raster.write(values, 1)
    return values
