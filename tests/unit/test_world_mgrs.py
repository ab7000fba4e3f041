"""Names and origins of granules, against known ones."""

import numpy as np
import pytest
from pyproj import Transformer
from shapely.geometry import Point, Polygon, box

from eelocal.world import mgrs, utm


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [
        ("31UES", 4.06, 50.74),
        ("33TWL", 15.5, 45.6),
        ("33TWM", 15.5, 46.5),
        ("48NUG", 103.79, 1.36),
        ("23KPS", -43.5, -21.3),
        ("32TPT", 11.0, 47.0),
        ("10SEG", -122.4, 37.5),
        ("32VNM", 10.7, 59.9),
    ],
)
def test_granule_name_of_known_places(name, lon, lat):
    assert name in [granule.name for granule in mgrs.granules_touching(Point(lon, lat))]


@pytest.mark.parametrize(
    ("name", "crs", "left", "top"),
    [  # 23KPS: a recorded getInfo; 10SEG: a recorded getAsset (499980, 4200000); 33T: images.json of real scenes
        ("23KPS", "EPSG:32723", 600000, 7700020),
        ("31UES", "EPSG:32631", 499980, 5700000),
        ("33TWL", "EPSG:32633", 499980, 5100000),
        ("33TWM", "EPSG:32633", 499980, 5200020),
        ("10SEG", "EPSG:32610", 499980, 4200000),
    ],
)
def test_origin_is_the_recorded_one(name, crs, left, top):
    granule = mgrs.granule_named(name)
    assert granule is not None
    assert (granule.crs, granule.left, granule.ul_northing) == (crs, left, top)


@pytest.mark.parametrize("name", ["31UE", "99UES", "31IES", "31UEI", "", "32XNP"])
def test_no_granule_of_impossible_names(name):
    assert mgrs.granule_named(name) is None


def test_every_name_leads_back_to_its_granule():
    for granule in list(mgrs.all_granules())[::2003]:
        assert mgrs.granule_named(granule.name) == granule


@pytest.mark.parametrize(("lon", "lat", "zone"), [(4.0, 60.0, 32), (2.9, 60.0, 31), (8.0, 78.0, 31), (10.0, 78.0, 33)])
def test_zones_of_norway_and_svalbard(lon, lat, zone):
    assert mgrs.zone_at(lon, lat) == zone


def test_neighbours_overlap_by_9800_m():
    left, right = mgrs.granule_named("31UES"), mgrs.granule_named("31UFS")
    assert left is not None
    assert right is not None
    assert left.left + mgrs.GRANULE_SIZE - right.left == 9780  # 600000 is on the grid of 60 m, 500000 is not


def test_place_on_the_antimeridian_has_granules_of_both_zones():
    found = mgrs.granules_touching(box(179.9, -17.1, 180.0, -17.0))
    assert {granule.zone for granule in found} >= {60}
    assert {granule.zone for granule in mgrs.granules_touching(box(-180, -17.1, -179.99, -17.0))} >= {1}


def test_outline_past_the_antimeridian_is_cut_there():
    wrapped = mgrs.wrapped(Polygon([(179, 0), (181, 0), (181, 1), (179, 1)]))
    assert wrapped.bounds == (-180, 0, 180, 1)
    assert wrapped.area == pytest.approx(2)


@pytest.mark.parametrize("zone", [1, 31, 48, 60])
def test_transverse_mercator_agrees_with_proj_to_a_millimetre(zone):
    rng = np.random.default_rng(zone)
    lon = utm.central_meridian(zone) + rng.uniform(-3.9, 3.9, 200)
    lat = rng.uniform(-80, 84, 200)
    x, y = Transformer.from_crs("EPSG:4326", f"EPSG:326{zone:02d}", always_xy=True).transform(lon, lat)
    east, north = utm.forward(lon, lat, zone)
    assert np.abs(east - x).max() < 1e-3
    assert np.abs(north - y).max() < 1e-3
    back_lon, back_lat = utm.inverse(east, north, zone)
    assert np.abs(back_lon - lon).max() < 1e-8
    assert np.abs(back_lat - lat).max() < 1e-8
