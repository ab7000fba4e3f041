"""Where a scene must have pixels, and where a missing one proves nothing."""

from dataclasses import replace

import numpy as np
import pyproj
import pytest
import shapely

from eeflow.footprint import in_raster, must_cover

LONLAT = pyproj.Transformer.from_crs(32631, 4326, always_xy=True)


def footprint_of(left, bottom, right, top):
    """The corners of a box in UTM 31, in degrees."""
    return shapely.Polygon(
        [LONLAT.transform(*xy) for xy in [(left, bottom), (right, bottom), (right, top), (left, top)]]
    )


def covered(series, **changes):
    image = series.images[0]
    image = replace(image, scenes=(replace(image.scenes[0], **changes),))
    return must_cover(image, ["B2"], series.grid, np.ones(series.grid.shape, bool))


def test_without_a_footprint_the_raster_decides(make_series):
    series = make_series(shape=(4, 5), extent=(19, 18))  # 16 rows and columns lie before the grid
    assert covered(series).tolist() == [[True, True, False, False, False]] * 3 + [[False] * 5]


def test_only_pixels_asked_about_are_told(make_series):
    series = make_series()
    asked = np.eye(4, 5, dtype=bool)
    np.testing.assert_array_equal(must_cover(series.images[0], ["B2"], series.grid, asked), asked)


def test_rim_of_three_pixels_proves_nothing(make_series):
    series = make_series(shape=(20, 20))
    # The box ends in the middle of the grid, at column 10 and row 10, and begins far to the west and north.
    found = covered(series, footprint=footprint_of(599000, 5699900, 600100, 5701000))
    assert found[:6, :6].all()
    assert not found[:, 9:].any()
    assert not found[9:, :].any()


def test_footprint_with_a_hole(make_series):
    series = make_series(shape=(30, 30))
    outer, inner = footprint_of(599000, 5699000, 601000, 5701000), footprint_of(600100, 5699800, 600200, 5699900)
    found = covered(series, footprint=outer.difference(inner))
    assert not found[10:20, 10:20].any()
    assert found[0, 0]
    assert found[29, 29]


def test_footprint_elsewhere_covers_nothing(make_series):
    assert not covered(make_series(), footprint=footprint_of(700000, 5600000, 701000, 5601000)).any()


@pytest.mark.parametrize("edges", [(-180, -90, 180, 90), (-180, -60, 180, 60)])
def test_footprint_of_the_whole_world_covers_everything(make_series, edges):
    assert covered(make_series(), footprint=shapely.box(*edges)).all()


def test_raster_in_another_zone_is_compared_pixel_by_pixel(make_series):
    # Zone 30 is centred on 3 W; the point 6 E, 50 N lies on zone 31's eastern edge.
    x, y = pyproj.Transformer.from_crs(4326, 32630, always_xy=True).transform(*LONLAT.transform(600025, 5699980))
    own = ("EPSG:32630", (10.0, 0.0, x - 15, 0.0, -10.0, y + 15), (3, 3))
    series = make_series(own=own)
    found = in_raster(series.images[0], ["B2"], series.grid)
    assert found[2, 2] or found[1, 2]
    # Nine pixels of the same size, turned by the convergence of the meridians: nine again, but for those at the rim.
    assert 5 <= found.sum() <= 13


def test_a_footprint_that_threads_share_stays_as_it_is(make_series):
    """GEOS completes a prepared geometry as it is used, without a lock: threads that test one together crash."""
    series = make_series()
    scene = replace(series.images[0].scenes[0], footprint=shapely.box(-180, -90, 180, 90))
    in_raster(replace(series.images[0], scenes=(scene,)), ["B2"], series.grid)
    assert not shapely.is_prepared(scene.footprint)
