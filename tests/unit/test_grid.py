"""The pixel grid: snapping worked by hand, windows that cover each pixel once."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from eeflow.aoi import AOI
from eeflow.errors import AOIError, GridError
from eeflow.grid import PixelLattice, Window, build_grid, crs_name, grid_hash, parse_crs, pixel_metres, snap, windows
from eeflow.options import GridOptions

UTM31 = PixelLattice("EPSG:32631", 10, 10, 600000, 5700000)
LANDSAT = PixelLattice("EPSG:32619", 30, 30, 551485 - 10, -1185015)  # 551475 = 18382 * 30 + 15: odd multiples of 15
SRTM = PixelLattice.of(
    "EPSG:4326", [0.0002777777777777778, 0, -180.0001388888889, 0, -0.0002777777777777778, 60.00013888888889]
)
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def area(bounds, crs):
    return AOI(shapely.box(*bounds), pyproj.CRS(crs))


def options(**values):
    return GridOptions.model_validate(values)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [  # bounds as left, bottom, right, top; expected col, row, width, height
        # The edges of the area are edges of pixels: not one pixel more.
        ((600000, 5699980, 600030, 5700000), (0, 0, 3, 2)),
        ((600020, 5699900, 600050, 5699930), (2, 7, 3, 3)),
        # 1e-9 pixel outside on every side is noise.
        ((600020 - 1e-8, 5699900 - 1e-8, 600050 + 1e-8, 5699930 + 1e-8), (2, 7, 3, 3)),
        # 1e-9 pixel inside on every side.
        ((600020 + 1e-8, 5699900 + 1e-8, 600050 - 1e-8, 5699930 - 1e-8), (2, 7, 3, 3)),
        # A thousandth of a pixel over each edge is real and takes one more pixel on that side.
        ((600019.99, 5699900, 600050, 5699930), (1, 7, 4, 3)),
        ((600020, 5699899.99, 600050, 5699930), (2, 7, 3, 4)),
        ((600020, 5699900, 600050.01, 5699930), (2, 7, 4, 3)),
        ((600020, 5699900, 600050, 5699930.01), (2, 6, 3, 4)),
        # Inside one pixel, and across one edge.
        ((600021, 5699921, 600022, 5699922), (2, 7, 1, 1)),
        ((600029, 5699921, 600031, 5699922), (2, 7, 2, 1)),
        # Left of and above the lattice's corner: floor, never truncation.
        ((599995, 5700001, 600005, 5700009), (-1, -1, 2, 1)),
        ((599985, 5700011, 599989, 5700019), (-2, -2, 1, 1)),
        # Thinner than the noise, on an edge between pixels and next to one: still one pixel.
        ((600020 - 1e-8, 5699921, 600020 + 1e-8, 5699922), (2, 7, 1, 1)),
        ((600020, 5699921, 600020 + 1e-8, 5699922), (2, 7, 1, 1)),
    ],
)
def test_snapping_by_hand(bounds, expected):
    assert snap(bounds, UTM31) == expected


def test_last_column_kept_when_aoi_ends_on_pixel_edge():
    col, _, width, _ = snap((600000, 5699990, 600100, 5700000), UTM31)
    assert (col, width) == (0, 10)


def test_origin_at_odd_multiples_of_15():
    # Pixel edges are at 551475 + 30 n; 551500 lies in pixel 0, 551505 is its right edge.
    assert snap((551500, -1185045, 551505, -1185015), LANDSAT)[:1] == (0,)
    assert snap((551500, -1185045, 551505, -1185015), LANDSAT) == (0, 0, 1, 1)
    # On a lattice anchored at 0 the same area would have been one pixel from 551490 to 551520.
    grid = build_grid(options(), area((551500, -1185045, 551505, -1185015), "EPSG:32619"), LANDSAT)
    assert grid.transform == Affine(30, 0, 551475, 0, -30, -1185015)


def test_southern_utm_rows_count_down_from_the_north():
    lattice = PixelLattice("EPSG:32723", 10, 10, 600000, 7700020)
    # 7700020 - 7654321 = 45699: row 4569 holds the top; 45699 + 30 = 45729 lies in row 4572.
    assert snap((609999, 7654291, 610001, 7654321), lattice) == (999, 4569, 2, 4)
    grid = build_grid(options(), area((609999, 7654291, 610001, 7654321), "EPSG:32723"), lattice)
    assert grid.transform == Affine(10, 0, 609990, 0, -10, 7654330)
    assert grid.shape == (4, 2)


def test_degrees_with_srtms_origin():
    # Edges are half a pixel off whole degrees: 10 E lies in the middle of column 190 * 3600 = 684000.
    col, row, width, height = snap((10.0, 46.9, 10.1, 47.0), SRTM)
    # 0.1 degree is 360 pixels; with both ends in the middle of a pixel 361 are touched.
    assert (col, width, height) == (684000, 361, 361)
    # 60 N lies in the middle of row 0, 47 N 13 * 3600 rows below.
    assert row == 46800


def test_degrees_on_pixel_edges_take_no_further_pixel():
    left, top = -180.0001388888889 + 684000 / 3600, 60.00013888888889 - 46800 / 3600
    assert snap((left, top - 0.1, left + 0.1, top), SRTM) == (684000, 46800, 360, 360)


def test_pixels_that_are_not_square():
    lattice = PixelLattice("EPSG:32619", 448.3, 455.9, 1000, 2000)
    # x: 1896.6 is edge 2; y: 2000 - 2 * 455.9 = 1088.2 is edge 2.
    assert snap((1896.6, 1000, 1900, 1088.2), lattice) == (2, 2, 1, 1)
    assert snap((1896.6, 1088.2, 1900, 1090), lattice) == (2, 1, 1, 1)
    grid = build_grid(options(), area((1896.6, 1000, 1900, 1089), "EPSG:32619"), lattice)
    assert grid.shape == (2, 1)
    assert grid.transform.almost_equals(Affine(448.3, 0, 1896.6, 0, -455.9, 1544.1))


def test_positive_y_scale_gives_the_same_north_up_pixels():
    upward = PixelLattice.of("EPSG:4326", [0.05, 0, -180, 0, 0.05, -50])
    downward = PixelLattice.of("EPSG:4326", [0.05, 0, -180, 0, -0.05, 50])
    where = area((10.01, -20.04, 10.12, -19.93), "EPSG:4326")
    up, down = build_grid(options(), where, upward), build_grid(options(), where, downward)
    assert up.shape == down.shape == (3, 3)
    assert up.transform.almost_equals(down.transform)
    assert up.transform.almost_equals(Affine(0.05, 0, 10.0, 0, -0.05, -19.9))


@given(
    left=st.floats(-3e5, 9e5),
    bottom=st.floats(-1e6, 9e6),
    width=st.floats(0.001, 5e3),
    height=st.floats(0.001, 5e3),
    size=st.sampled_from([(10, 10), (30, 30), (20, 50)]),
    origin=st.sampled_from([(0, 0), (600000, 5700000), (551475, -1185015), (-15, 45)]),
)
def test_grid_is_the_smallest_that_holds_the_area(left, bottom, width, height, size, origin):
    lattice = PixelLattice("EPSG:32631", *size, *origin)
    col, row, columns, rows = snap((left, bottom, left + width, bottom + height), lattice)
    x0, x1 = origin[0] + col * size[0], origin[0] + (col + columns) * size[0]
    y1, y0 = origin[1] - row * size[1], origin[1] - (row + rows) * size[1]
    hair = 2e-6 * max(size)
    assert x0 <= left + hair
    assert x1 >= left + width - hair
    assert y0 <= bottom + hair
    assert y1 >= bottom + height - hair
    # One column or row fewer on any side would cut the area.
    assert columns == 1 or (x0 + size[0] > left - hair and x1 - size[0] < left + width + hair)
    assert rows == 1 or (y0 + size[1] > bottom - hair and y1 - size[1] < bottom + height + hair)


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (4.06, 50.74, 32631),
        (4.06, -50.74, 32731),
        (-43.5, -21.3, 32723),
        (0.0, 10.0, 32631),  # zone 31 begins at 0
        (-0.001, 10.0, 32630),
        (5.999, 10.0, 32631),
        (6.001, 10.0, 32632),
        (-179.9, 10.0, 32601),
        (179.9, 10.0, 32660),
        (10.0, 0.001, 32632),
        (10.0, -0.001, 32732),
    ],
)
def test_utm_zone_of_known_places(lon, lat, code):
    where = area((lon - 0.0005, lat - 0.0005, lon + 0.0005, lat + 0.0005), "EPSG:4326")
    grid = build_grid(options(crs="utm"), where, PixelLattice("EPSG:4326", 0.001, 0.001))
    assert grid.crs.to_epsg() == code


def test_no_utm_at_the_poles():
    with pytest.raises(
        GridError, match=r"^UTM ends at 80 S and 84 N, and the area is at latitude 85\.50; give a polar"
    ):
        build_grid(options(crs="utm"), area((10, 85, 11, 86), "EPSG:4326"), UTM31)


def test_degrees_from_metres_by_earth_engines_rule():
    # Known from recordings: 10 m are 8.983152841195215e-05 degrees, and edges are whole multiples of it.
    grid = build_grid(options(crs="EPSG:4326"), area((4.0, 50.0, 4.001, 50.001), "EPSG:4326"), UTM31)
    size = 8.983152841195215e-05
    assert math.degrees(10 / 6378137) == size
    assert grid.transform.a == size
    assert grid.transform.e == -size
    # 4.0 / size = 44527.79..., 50.001 / size = 556608.59...; by hand with bc.
    assert grid.transform.c == pytest.approx(44527 * size, abs=1e-12)
    assert grid.transform.f == pytest.approx(556609 * size, abs=1e-12)
    assert grid.shape == (12, 12)


def test_metres_from_degrees_by_the_same_rule():
    # 1/3600 degree on the equator of a sphere of 6378137 m: 2 * pi * 6378137 / 360 / 3600 = 30.922 m.
    assert SRTM.metres() == pytest.approx(30.922080775909)
    grid = build_grid(options(crs="utm"), area((10.0, 46.9, 10.01, 46.91), "EPSG:4326"), SRTM)
    assert grid.transform.a == pytest.approx(30.922080775909)


def test_another_projected_crs_is_anchored_at_its_origin():
    where = area((4321003, 3210007, 4321018, 3210012), "EPSG:3035")
    grid = build_grid(options(crs="EPSG:3035"), where, UTM31)
    assert grid.transform == Affine(10, 0, 4321000, 0, -10, 3210020)
    assert grid.shape == (2, 2)
    assert crs_name(grid) == "EPSG:3035"


def test_given_resolution_keeps_the_native_corner():
    lattice = PixelLattice("EPSG:32619", 30, 30, 551475, -1185015)
    grid = build_grid(options(resolution=20), area((551480, -1185050, 551500, -1185030), "EPSG:32619"), lattice)
    # Edges at 551475 + 20 n and -1185015 - 20 n.
    assert grid.transform == Affine(20, 0, 551475, 0, -20, -1185015)
    assert grid.shape == (2, 2)


def test_naming_the_native_crs_is_native():
    where = area((600021, 5699921, 600022, 5699922), "EPSG:32631")
    assert build_grid(options(crs="EPSG:32631"), where, UTM31) == build_grid(options(), where, UTM31)


def test_crs_in_feet_gets_its_own_units():
    # EPSG:2263 is in US survey feet of 1200/3937 m: 10 m are 32.80833... feet.
    where = area((1e6, 2e5, 1e6 + 50, 2e5 + 50), "EPSG:2263")
    assert build_grid(options(crs="EPSG:2263"), where, UTM31).transform.a == pytest.approx(10 * 3937 / 1200)


def test_modis_keeps_earth_engines_name():
    modis = PixelLattice.of(
        "SR-ORG:6974", [231.65635826395825, 0, -20015109.353988, 0, -231.65635826395834, 10007554.676994]
    )
    left, top = -20015109.353988 + 1000 * 231.65635826395825, 10007554.676994 - 9000 * 231.65635826395834
    where = area((left + 1, top - 300, left + 100, top - 1), SINUSOIDAL)
    grid = build_grid(options(), where, modis)
    assert grid.shape == (2, 1)
    assert grid.transform.almost_equals(Affine(231.65635826395825, 0, left, 0, -231.65635826395834, top), 1e-6)
    assert crs_name(grid) == "SR-ORG:6974"
    assert parse_crs(crs_name(grid)).equals(pyproj.CRS(SINUSOIDAL))


def test_crs_without_a_code_goes_as_wkt_and_comes_back():
    custom = pyproj.CRS("+proj=laea +lat_0=52 +lon_0=10 +x_0=1 +ellps=GRS80 +units=m")
    grid = GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), custom)
    assert crs_name(grid).startswith("PROJCS[")
    again = GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), parse_crs(crs_name(grid)))
    assert grid_hash(again) == grid_hash(grid)


def test_rotated_native_pixels_are_refused_only_when_they_are_asked_for():
    rotated = PixelLattice.of("EPSG:32631", [8, 6, 600000, -6, 8, 5700000])
    assert rotated.metres() == 10  # the hypotenuse of 8 and 6
    where = area((600021, 5699921, 600022, 5699922), "EPSG:32631")
    with pytest.raises(GridError, match=r"own pixels lie rotated in EPSG:32631.*Give grid\.resolution, or another"):
        build_grid(options(), where, rotated)
    assert build_grid(options(resolution=10), where, rotated).shape == (1, 1)
    assert build_grid(options(crs="EPSG:3035"), where, rotated).transform.a == 10


@pytest.mark.parametrize("crs", ["EPSG:99999", "UTM", "nonsense"])
def test_unknown_crs_is_named(crs):
    with pytest.raises(GridError, match=rf"^'{crs}' is no known CRS; grid\.crs is native, utm, or a CRS such as"):
        build_grid(options(crs=crs), area((4, 50, 4.1, 50.1), "EPSG:4326"), UTM31)


def test_crs_that_is_no_map_is_refused():
    with pytest.raises(GridError, match=r"^EPSG:5773 \(EGM96 height\) is not a CRS of the Earth's surface"):
        build_grid(options(crs="EPSG:5773"), area((4, 50, 4.1, 50.1), "EPSG:4326"), UTM31)


def test_area_that_the_crs_cannot_hold_is_refused():
    with pytest.raises(AOIError, match=r"cannot be expressed in .*; choose a CRS that covers it as grid\.crs"):
        build_grid(options(crs="+proj=ortho +lat_0=50 +lon_0=0"), area((80, -60, 81, -10), "EPSG:4326"), UTM31)


def test_hash_changes_with_crs_transform_and_shape():
    base = GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32631")
    others = [
        GeoBox((3, 2), Affine(10, 0, 0, 0, -10, 0), "EPSG:32631"),
        GeoBox((2, 3), Affine(10, 0, 10, 0, -10, 0), "EPSG:32631"),
        GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32632"),
    ]
    assert len({grid_hash(grid) for grid in [base, *others]}) == 4
    assert grid_hash(GeoBox((2, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32631")) == grid_hash(base)


def test_pixel_metres_of_degrees_and_metres():
    assert pixel_metres("EPSG:32631", Affine(10, 0, 5, 0, -10, 5)) == 10
    assert pixel_metres("EPSG:4326", Affine(1, 0, 5, 0, -1, 5)) == pytest.approx(111319.49079327357)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_windows_cover_each_pixel_exactly_once(rows, cols, height, width):
    grid = GeoBox((rows, cols), Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")
    covered = np.zeros((rows, cols), int)
    for window in windows(grid, height, width):
        assert 1 <= window.height <= height
        assert 1 <= window.width <= width
        covered[window.row : window.row + window.height, window.col : window.col + window.width] += 1
    assert (covered == 1).all()


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40), st.integers(1, 40))
def test_quarters_cover_each_pixel_exactly_once(row, col, height, width):
    window = Window(row, col, height, width)
    covered = np.zeros((100, 100), int)
    parts = window.quarters()
    for part in parts:
        covered[part.row : part.row + part.height, part.col : part.col + part.width] += 1
    assert covered.sum() == covered[row : row + height, col : col + width].sum() == height * width
    assert covered.max() == 1
    assert len(parts) == (2 if height > 1 else 1) * (2 if width > 1 else 1)
    assert max(part.size for part in parts) < window.size or window.size == 1


def test_windows_own_grid_is_where_its_pixels_are():
    grid = GeoBox((100, 200), Affine(10, 0, 600000, 0, -10, 5700000), "EPSG:32631")
    part = Window(7, 11, 3, 5).of(grid)
    assert part.shape == (3, 5)
    assert part.transform == Affine(10, 0, 600110, 0, -10, 5699930)
