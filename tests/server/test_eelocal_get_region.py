"""getRegion through the real client: each test says whether the behaviour is recorded, documented or assumed."""

import math

import ee
import numpy as np
import pytest
from pyproj import Transformer
from test_eelocal_support import CodedCollection, CodedImage, serving

DAY = 86_400_000
GLOBAL = {"crs": "EPSG:4326", "transform": (0.05, 0.0, -180.0, 0.0, -0.05, 90.0), "size": (7200, 3600)}


def scene(index, **options):
    return CodedImage(
        f"T/UTM/{index}", properties={"system:time_start": 1_600_000_000_000 + int(index) * DAY}, **options
    )


@pytest.fixture(scope="module")
def engine():
    utm = CodedCollection("T/UTM", [scene("0"), scene("1", masked=lambda k, row, col: (row == 3) & (k == 1))])
    flat = CodedImage(
        "T/FLAT/20150101", bands=("precipitation",), function=lambda k, r, c: r * 0, dtype="float32", **GLOBAL
    )
    tenth = CodedImage("T/TENTH/a", bands=("v",), function=lambda k, r, c: r * 0 + 0.7, dtype="float32", **GLOBAL)
    mixed = CodedCollection("T/MIXED", [CodedImage("T/MIXED/a"), CodedImage("T/MIXED/b", bands=("B1",))])
    far = CodedImage("T/FAR/far", transform=(10.0, 0.0, 600000.0, 0.0, -10.0, 5000000.0))
    near = CodedImage("T/FAR/near")
    empty = CodedCollection("T/EMPTY", [])
    sources = [utm, mixed, empty, CodedCollection("T/FLAT", [flat]), CodedCollection("T/TENTH", [tenth])]
    with serving(*sources, CodedCollection("T/FAR", [far, near])) as running:
        yield running


def rows(collection, geometry, **arguments):
    return ee.ImageCollection(collection).getRegion(geometry, **arguments).getInfo()


# (longitude, latitude, scale) -> pixel centre, recorded: getregion_*.json and *.csv, bit for bit where exact.
@pytest.mark.parametrize(
    ("place", "scale", "centre"),
    [
        ((5.145041, 45.772439), 1000, (5.142855001584261, 45.77365530231022)),  # recorded
        ((106.8755, 47.8752), 10, (106.87548887637286, 47.87521899374363)),  # recorded
    ],
)
def test_point_takes_the_centre_of_its_pixel_recorded(engine, place, scale, centre):
    header, row = rows("T/FLAT", ee.Geometry.Point(place), scale=scale)
    assert header == ["id", "longitude", "latitude", "time", "precipitation"]
    assert tuple(row[1:3]) == centre
    assert row[0] == "20150101"


@pytest.mark.parametrize("scale", [10, 30, 100, 1000])
@pytest.mark.parametrize("place", [(-90.496, 34.852), (14.47, 46.05), (-60.3, -33.7), (151.2, -33.8)])
def test_lattice_is_anchored_at_zero_recorded(engine, place, scale):
    size = math.degrees(scale / 6378137)
    _, row = rows("T/FLAT", ee.Geometry.Point(place), scale=scale)
    assert row[1] == (math.floor(place[0] / size) + 0.5) * size
    assert row[2] == (math.floor(place[1] / size) + 0.5) * size


def test_two_by_two_pixels_come_bottom_up_and_left_to_right_recorded(engine):
    # recorded/getregion_s1_slovenia_2x2.csv: SW, SE, NW, NE at scale 100; south and north swapped in the call.
    size = math.degrees(100 / 6378137)
    west, south = 14.470512 - size / 2 + 1e-5, 46.048989 - size / 2 + 1e-5
    box = ee.Geometry.BBox(west, south + 2 * size - 2e-5, west + 2 * size - 2e-5, south)
    found = rows("T/FLAT", box, scale=100)[1:]
    assert [(round(r[1], 6), round(r[2], 6)) for r in found] == [
        (14.470512, 46.048989),
        (14.471410, 46.048989),
        (14.470512, 46.049887),
        (14.471410, 46.049887),
    ]


def test_pixels_belong_to_an_area_by_their_centres_recorded(engine):
    # The API reference's example: 2 pixels at 30 m, where touching would give 6.
    box = ee.Geometry.BBox(-90.496353, 34.851971, -90.495749, 34.852197)
    assert len(rows("T/FLAT", box, scale=30)) == 1 + 2


def test_whole_floats_are_integers_and_float32_its_exact_double_recorded(engine):
    assert rows("T/FLAT", ee.Geometry.Point(5, 45), scale=1000)[1][4] == 0
    assert isinstance(rows("T/FLAT", ee.Geometry.Point(5, 45), scale=1000)[1][4], int)
    assert rows("T/TENTH", ee.Geometry.Point(5, 45), scale=1000)[1][4] == 0.699999988079071


def test_crs_and_transform_hit_native_pixels_row_by_row_from_the_top_documented(engine):
    area = ee.Geometry.Rectangle([500020.5, 4999940.5, 500049.5, 4999969.5], ee.Projection("EPSG:32631"), False)
    transform = [10, 0, 500000, 0, -10, 5000000]
    found = rows("T/UTM", area, crs="EPSG:32631", crsTransform=transform)[1:]
    # Rows 3..5, columns 2..4, two images each, pixel-major.
    expected = [(image, row, col) for row in range(3, 6) for col in range(2, 5) for image in ("0", "1")]
    decoded = [(r[0], (r[4] - 10000) // 100, (r[4] - 10000) % 100) for r in found]
    assert decoded == expected
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    for (_, row, col), values in zip(expected, found, strict=True):
        centre = to_degrees.transform(500000 + (col + 0.5) * 10, 5000000 - (row + 0.5) * 10)
        assert np.allclose(values[1:3], centre, atol=1e-12, rtol=0)


def test_masked_band_is_null_and_the_row_stays_recorded(engine):
    point = ee.Geometry.Point([500025, 4999965], ee.Projection("EPSG:32631"))
    transform = [10, 0, 500000, 0, -10, 5000000]
    _, first, second = rows("T/UTM", point, crs="EPSG:32631", crsTransform=transform)
    assert first[4:] == [10302, 20302]
    assert second[4:] == [10302, None]


def test_fully_masked_pixel_still_has_a_row_documented(engine):
    nothing = ee.ImageCollection("T/UTM").map(lambda image: image.updateMask(0))
    found = nothing.getRegion(ee.Geometry.Point([500025, 4999965], "EPSG:32631"), 10, "EPSG:32631").getInfo()
    assert [row[4:] for row in found[1:]] == [[None, None], [None, None]]


def test_image_that_misses_the_pixel_gives_no_row_documented(engine):
    found = rows("T/FAR", ee.Geometry.Point([500025, 4999965], "EPSG:32631"), scale=10, crs="EPSG:32631")
    assert [row[0] for row in found[1:]] == ["near"]


def test_scale_with_a_projected_crs_is_anchored_at_its_origin_documented(engine):
    # 30 m over 10 m pixels at 500000: 500000 = 16666.67 * 30, so the pixel that holds 500025 begins at 500010.
    _, row, _ = rows("T/UTM", ee.Geometry.Point([500025, 4999965], "EPSG:32631"), scale=30, crs="EPSG:32631")
    back = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(*row[1:3])
    assert np.allclose(back, (500010 + 15, 4999950 + 15), atol=1e-6)


def test_too_many_values_recorded(engine):
    area = ee.Geometry.Rectangle([500000, 4990000, 520000, 5000000], ee.Projection("EPSG:32631"), False)
    with pytest.raises(ee.EEException) as caught:
        rows("T/UTM", area, scale=10, crs="EPSG:32631")
    assert str(caught.value) == (
        "ImageCollection.getRegion: Too many values: 2000000 points x 2 bands x 2 images > 1048576."
    )


def test_exactly_the_limit_is_allowed_documented(engine):
    # 1024 x 1024 pixels, one band, one image.
    area = ee.Geometry.Rectangle([0.5, 0.5, 10239.5, 10239.5], ee.Projection("EPSG:32631"), False)
    found = ee.ImageCollection([ee.Image(7)]).getRegion(area, 10, "EPSG:32631").getInfo()
    assert len(found) == 1 + 1_048_576


def test_empty_collection_recorded(engine):
    with pytest.raises(ee.EEException, match=r"^ImageCollection\.getRegion: No bands in collection\.$"):
        rows("T/EMPTY", ee.Geometry.Point(5, 45), scale=10)


def test_no_image_in_the_region_gives_the_header_alone_documented(engine):
    assert rows("T/UTM", ee.Geometry.Point(50, 10), scale=10) == [["id", "longitude", "latitude", "time", "B1", "B2"]]


def test_different_bands_are_an_error_documented(engine):
    with pytest.raises(ee.EEException, match="Expected a homogeneous image collection"):
        rows("T/MIXED", ee.Geometry.Point([500025, 4999965], "EPSG:32631"), scale=10)


def test_scale_and_transform_exclude_each_other_documented(engine):
    with pytest.raises(ee.EEException, match="Cannot specify both crsTransform and scale"):
        rows("T/UTM", ee.Geometry.Point(3, 45), scale=10, crs="EPSG:32631", crsTransform=[10, 0, 0, 0, -10, 0])


def test_scattered_points_come_in_another_order_recorded(engine):
    places = [[10 + 0.37 * i, 45 + 0.11 * i] for i in range(12)]
    found = rows("T/FLAT", ee.Geometry.MultiPoint(places), scale=30)[1:]
    size = math.degrees(30 / 6378137)
    asked = [((math.floor(x / size) + 0.5) * size, (math.floor(y / size) + 0.5) * size) for x, y in places]
    given = [(row[1], row[2]) for row in found]
    assert sorted(given) == sorted(asked)
    assert given not in (asked, sorted(asked), sorted(asked, reverse=True))
    assert found == rows("T/FLAT", ee.Geometry.MultiPoint(places[::-1]), scale=30)[1:]


def test_two_points_in_one_pixel_are_one_pixel_assumed(engine):
    assert len(rows("T/FLAT", ee.Geometry.MultiPoint([[5, 45], [5.000001, 45]]), scale=1000)) == 2


def test_mapped_images_keep_their_index_and_lose_their_time_documented(engine):
    doubled = ee.ImageCollection("T/UTM").map(lambda image: image.multiply(2))
    found = doubled.getRegion(ee.Geometry.Point([500025, 4999965], "EPSG:32631"), 10, "EPSG:32631").getInfo()
    # Lattice at (0, 0) coincides with the native one here; y upwards does not change the pixel.
    assert [row[:1] + row[3:] for row in found[1:]] == [["0", None, 20604, 40604], ["1", None, 20604, None]]


def test_images_from_a_list_are_numbered_recorded(engine):
    images = ee.ImageCollection([ee.Image(1).rename("v"), ee.Image(2).rename("v")])
    found = images.getRegion(ee.Geometry.Point(5, 45), 10).getInfo()
    assert [(row[0], row[3], row[4]) for row in found[1:]] == [("0", None, 1), ("1", None, 2)]


def test_merged_collections_get_prefixes_recorded(engine):
    both = ee.ImageCollection("T/UTM").merge(ee.ImageCollection("T/UTM"))
    assert both.aggregate_array("system:index").getInfo() == ["1_0", "1_1", "2_0", "2_1"]


def test_nested_map_error_names_the_image_recorded(engine):
    with pytest.raises(ee.EEException) as caught:
        ee.ImageCollection("T/UTM").select("B9").first().getInfo()
    assert str(caught.value) == (
        "Collection.first: Error in map(ID=0):\n"
        "Image.select: Band pattern 'B9' did not match any bands. Available bands: [B1, B2]"
    )


def test_line_takes_the_pixels_it_touches_assumed(engine):
    line = ee.Geometry.LineString([[500005, 4999995], [500035, 4999995]], "EPSG:32631", False)
    found = rows("T/UTM", line, crs="EPSG:32631", crsTransform=[10, 0, 500000, 0, -10, 5000000])
    assert [row[4] for row in found[1:] if row[0] == "0"] == [10000, 10001, 10002, 10003]
