"""Areas of interest: every format, every trap, each with a clear answer."""

import math
import os
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pyproj
import pytest
import shapely

from eeflow.aoi import load_aoi
from eeflow.errors import AOIError
from eeflow.options import AreaOfInterest

SQUARE = shapely.box(4.05, 50.74, 4.06, 50.75)
NEIGHBOUR = shapely.box(4.06, 50.74, 4.08, 50.75)
BOWTIE = shapely.Polygon([(4, 50), (4.02, 50.02), (4.02, 50), (4, 50.02)])
CUSTOM = "+proj=utm +zone=12 +ellps=GRS80 +towgs84=0,0,0 +units=m"
SHARED = Path(os.environ.get("EEFLOW_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data") / "vectors"


def load(**options):
    return load_aoi(AreaOfInterest.model_validate(options))


def fields(*geometries, crs="EPSG:4326"):
    names = [chr(ord("a") + number) for number in range(len(geometries))]
    return gpd.GeoDataFrame({"crop": names, "number": range(len(names))}, geometry=list(geometries), crs=crs)


def saved(path, *geometries, crs="EPSG:4326", **how):
    pyogrio.write_dataframe(fields(*geometries, crs=crs), path, **how)
    return str(path)


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip("the shared sample data are not here")
    return str(path)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "shp", "fgb", "kml"])
def test_every_vector_format_gives_the_same_area(tmp_path, ending):
    driver = "KML" if ending == "kml" else None  # of which there are two
    aoi = load(file=saved(tmp_path / f"farm.{ending}", SQUARE, NEIGHBOUR, driver=driver))
    assert aoi.geometry.bounds == pytest.approx((4.05, 50.74, 4.08, 50.75), abs=1e-12)
    assert aoi.geometry.area == pytest.approx(0.03 * 0.01)
    assert aoi.crs.to_epsg() == 4326


@pytest.mark.parametrize("ending", ["parquet", "geoparquet", "pq"])
def test_geoparquet(tmp_path, ending):
    fields(SQUARE, crs="EPSG:4326").to_crs("EPSG:32631").to_parquet(tmp_path / f"farm.{ending}")
    aoi = load(file=str(tmp_path / f"farm.{ending}"))
    assert aoi.crs.to_epsg() == 32631
    assert aoi.lonlat.bounds == pytest.approx(SQUARE.bounds, abs=1e-6)


def test_touching_features_are_dissolved(tmp_path):
    aoi = load(file=saved(tmp_path / "farm.gpkg", SQUARE, NEIGHBOUR))
    assert aoi.geometry.geom_type == "Polygon"


def test_where_chooses_features(tmp_path):
    path = saved(tmp_path / "farm.gpkg", SQUARE, NEIGHBOUR)
    assert load(file=path, where="crop = 'b'").geometry.bounds == NEIGHBOUR.bounds


def test_layer_chooses_among_several(tmp_path):
    path = saved(tmp_path / "farm.gpkg", SQUARE, layer="one")
    saved(path, NEIGHBOUR, layer="two")
    assert load(file=path, layer="two").geometry.bounds == NEIGHBOUR.bounds
    with pytest.raises(AOIError, match=r"^farm\.gpkg has 2 layers; choose one as aoi\.layer: one, two\.$"):
        load(file=path)
    with pytest.raises(AOIError, match=r"^farm\.gpkg has no layer 'three'; it has one, two\.$"):
        load(file=path, layer="three")


def test_plain_table_beside_the_layer_needs_no_choice(tmp_path):
    path = saved(tmp_path / "farm.gpkg", SQUARE, layer="one")
    pyogrio.write_dataframe(pd.DataFrame({"style": ["x"]}), path, layer="layer_styles")
    assert load(file=path).geometry.bounds == SQUARE.bounds
    with pytest.raises(AOIError, match=r"^farm\.gpkg has no layer 'layer_styles'; it has one\.$"):
        load(file=path, layer="layer_styles")


@pytest.mark.parametrize("where", ["nonsense ===", "absent_column = 1"])
def test_wrong_where_is_quoted(tmp_path, where):
    path = saved(tmp_path / "farm.gpkg", SQUARE)
    with pytest.raises(AOIError, match=rf"^farm\.gpkg cannot be read with where: '{where}': "):
        load(file=path, where=where)


def test_where_that_nothing_meets(tmp_path):
    path = saved(tmp_path / "farm.gpkg", SQUARE)
    with pytest.raises(AOIError, match=r"^farm\.gpkg has no features where crop = 'z', so there is no area to"):
        load(file=path, where="crop = 'z'")


@pytest.mark.parametrize("choice", [{"where": "crop = 'a'"}, {"layer": "farm"}])
def test_geoparquet_never_ignores_a_choice(tmp_path, choice):
    fields(SQUARE, NEIGHBOUR).to_parquet(tmp_path / "farm.parquet")
    with pytest.raises(AOIError, match=r"^farm\.parquet is GeoParquet, of which aoi\.layer and aoi\.where cannot"):
        load(file=str(tmp_path / "farm.parquet"), **choice)


def test_missing_file_says_what_it_is_relative_to(tmp_path):
    with pytest.raises(AOIError, match=r"none\.gpkg does not exist; aoi\.file is relative to the job file\.$"):
        load(file=str(tmp_path / "none.gpkg"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpkg", b"SQLite format 3\0 and then nothing"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": [{"ty'),
        ("a.geojson", b"hello"),
        ("a.shp", b"\0\0"),
        ("a.fgb", b""),
        ("a.kml", b"<kml>"),
    ],
)
def test_corrupt_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AOIError, match=rf"^{name} (cannot be read as a vector file: |has no )") as caught:
        load(file=str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_corrupt_geoparquet_is_one_line(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    for name in ("a.parquet", "plain.parquet"):
        with pytest.raises(AOIError, match=rf"^{name} cannot be read as GeoParquet: [^\n]*\.$"):
            load(file=str(tmp_path / name))


def test_table_without_geometries(tmp_path):
    (tmp_path / "farms.csv").write_text("name,size\na,5\n", encoding="utf-8")
    with pytest.raises(AOIError, match=r"^farms\.csv has no layer with geometries, so there is no area to download"):
        load(file=str(tmp_path / "farms.csv"))


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_no_crs_is_refused_until_one_is_given(tmp_path):
    path = saved(tmp_path / "farm.shp", SQUARE, crs=None)
    with pytest.raises(AOIError, match=r"^farm\.shp has no CRS, so its coordinates cannot be placed\. Set one in the"):
        load(file=path)
    assert load(file=path, crs="EPSG:4326").geometry.bounds == SQUARE.bounds


def test_files_own_crs_wins(tmp_path):
    path = saved(tmp_path / "farm.gpkg", SQUARE)
    assert load(file=path, crs="EPSG:32631").crs.to_epsg() == 4326


@pytest.mark.parametrize("content", ["[]", '[{"type": "Feature", "properties": {}, "geometry": null}]'])
def test_no_features(tmp_path, content):
    path = tmp_path / "empty.geojson"
    path.write_text(f'{{"type": "FeatureCollection", "features": {content}}}', encoding="utf-8")
    with pytest.raises(AOIError, match=r"^empty\.geojson has no features, so there is no area to download\.$"):
        load(file=str(path))


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [
        (shapely.Point(4, 50), "Point"),
        (shapely.MultiPoint([(4, 50), (5, 51)]), "MultiPoint"),
        (shapely.LineString([(4, 50), (5, 51)]), "LineString"),
    ],
)
def test_points_and_lines_have_no_area_unless_buffered(tmp_path, geometry, kind):
    path = saved(tmp_path / "track.gpkg", geometry)
    with pytest.raises(AOIError, match=rf"^track\.gpkg holds only {kind} geometry, which has no area\. Give polygons"):
        load(file=path)
    assert load(file=path, buffer=25).geometry.area > 0


def test_points_beside_polygons_do_not_stretch_the_area(tmp_path):
    path = saved(tmp_path / "mixed.geojson", SQUARE, shapely.Point(5, 51))
    with pytest.raises(
        AOIError, match=r"^mixed\.geojson holds points or lines beside its polygons, which have no area"
    ):
        load(file=path)
    inside = saved(tmp_path / "label.geojson", SQUARE, shapely.Point(4.055, 50.745))
    assert load(file=inside).geometry.bounds == SQUARE.bounds


def test_bowtie_is_refused_or_repaired(tmp_path):
    path = saved(tmp_path / "bowtie.geojson", SQUARE, BOWTIE)
    with pytest.raises(
        AOIError,
        match=r"^bowtie\.geojson: feature 2 of 2 is not a valid polygon \(Self-intersection.*\)\. Repair it in the "
        r"file, or set aoi\.repair: true\.$",
    ):
        load(file=path)
    repaired = load(file=saved(tmp_path / "alone.geojson", BOWTIE), repair=True)
    # Two triangles of base 0.02 and height 0.01 each.
    assert repaired.geometry.area == pytest.approx(2 * 0.02 * 0.01 / 2)
    assert repaired.geometry.is_valid


def test_repair_leaves_no_spike(tmp_path):
    spiked = shapely.Polygon([(4, 50), (4.01, 50), (4.5, 50), (4.01, 50), (4.01, 50.01), (4, 50.01)])
    assert not spiked.is_valid
    repaired = load(file=saved(tmp_path / "spike.geojson", spiked), repair=True)
    assert repaired.geometry.bounds == (4, 50, 4.01, 50.01)


def test_z_coordinates_are_dropped(tmp_path):
    aoi = load(file=saved(tmp_path / "draped.gpkg", shapely.force_3d(SQUARE, 120.0)))
    assert not aoi.geometry.has_z
    assert aoi.geometry.bounds == SQUARE.bounds


def test_holes_stay(tmp_path):
    holed = SQUARE.difference(shapely.box(4.053, 50.743, 4.056, 50.746))
    assert load(file=saved(tmp_path / "holed.gpkg", holed)).geometry.area == pytest.approx(1e-4 - 9e-6)


def test_custom_crs_without_a_code(tmp_path):
    square = shapely.box(300000, 4110000, 301000, 4111000)
    aoi = load(file=saved(tmp_path / "park.gpkg", square, crs=CUSTOM))
    assert aoi.crs.to_authority() is None
    # The same by PROJ itself: zone 12 is centred on 111 W.
    lon, lat = pyproj.Proj("+proj=utm +zone=12 +ellps=GRS80")(300500, 4110500, inverse=True)
    assert aoi.lonlat.contains(shapely.Point(lon, lat))


def test_bbox_is_in_degrees_unless_said_otherwise():
    assert load(bbox=[4, 50, 4.1, 50.1]).crs.to_epsg() == 4326
    metres = load(bbox=[574680, 5621800, 574700, 5621850], crs="EPSG:32631")
    assert metres.crs.to_epsg() == 32631
    assert metres.geometry.bounds == (574680, 5621800, 574700, 5621850)
    # Zone 31 is centred on 3 E; 74.69 km east of it on the parallel of 50.74 N: 3 + 74.69 / (111.32 cos 50.74) degrees.
    west, south, east, north = metres.lonlat.bounds
    assert (west + east) / 2 == pytest.approx(3 + 74.69 / (111.32 * math.cos(math.radians(50.74))), abs=5e-3)
    assert (south + north) / 2 == pytest.approx(50.743, abs=5e-3)


@pytest.mark.parametrize("crs", ["EPSG:99999", "nonsense"])
def test_unknown_crs_is_named(crs):
    with pytest.raises(AOIError, match=rf"^aoi\.crs is '{crs}', which is no known CRS; write it like EPSG:4326\.$"):
        load(bbox=[0, 0, 1, 1], crs=crs)


@pytest.mark.parametrize(
    "content",
    [
        shapely.geometry.mapping(SQUARE),
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(SQUARE)},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(SQUARE)}],
        },
    ],
)
def test_geojson_in_the_job(content):
    aoi = load(geojson=content)
    assert aoi.geometry.bounds == SQUARE.bounds
    assert aoi.crs.to_epsg() == 4326


@pytest.mark.parametrize(
    "content",
    [{}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, {"type": "Circle"}],
)
def test_wrong_geojson_in_the_job(content):
    with pytest.raises(AOIError, match=r"^aoi\.geojson is not valid GeoJSON: "):
        load(geojson=content)


def test_buffer_is_in_metres_whatever_the_crs():
    bare, wide = load(bbox=[4.0, 50.0, 4.1, 50.1]), load(bbox=[4.0, 50.0, 4.1, 50.1], buffer=100)
    west, south, east, north = (b - a for a, b in zip(bare.geometry.bounds, wide.geometry.bounds, strict=True))
    # A degree of latitude at 50 N is 111.23 km, one of longitude 71.70 km (WGS 84).
    assert (-south, north) == pytest.approx((100 / 111_230,) * 2, rel=0.02)
    assert (-west, east) == pytest.approx((100 / 71_700,) * 2, rel=0.05)


def test_negative_buffer_that_leaves_nothing():
    with pytest.raises(AOIError, match=r"^aoi\.bbox: nothing is left of the area after aoi\.buffer; use a smaller one"):
        load(bbox=[4, 50, 4.001, 50.001], buffer=-100)


def test_buffer_where_metres_cannot_be_had():
    with pytest.raises(AOIError, match=r"lies in no UTM zone, so aoi\.buffer cannot be measured in metres"):
        load(bbox=[574680, 5621800, 574700, 5621850], buffer=10)


def test_projected_coordinates_labelled_as_degrees(tmp_path):
    path = saved(tmp_path / "wrong.gpkg", shapely.box(574680, 5621800, 574700, 5621850))
    with pytest.raises(
        AOIError,
        match=r"^wrong\.gpkg reaches from .* which is not on Earth; its CRS \(WGS 84\) is probably not the one",
    ):
        load(file=path)


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([-180, -18, 180, -16], r"crosses the antimeridian \(longitudes -180 to 180\)\. Split it at 180 degrees"),
        ([179, -18, 181, -16], r"crosses the antimeridian \(longitudes 179 to 181\)"),
        ([-181, -18, -179, -16], r"crosses the antimeridian \(longitudes -181 to -179\)"),
        ([190, -18, 191, -16], r"lies at longitudes 190 to 191; write them between -180 and 180\.$"),
        ([10, -91, 11, -16], r"not on Earth"),
    ],
)
def test_longitudes_beyond_the_map(bbox, expected):
    with pytest.raises(AOIError, match=expected):
        load(bbox=bbox)


def test_area_in_metres_over_the_antimeridian():
    with pytest.raises(AOIError, match=r"crosses the antimeridian"):
        load(bbox=[100_000, 7_900_000, 900_000, 8_100_000], crs="EPSG:32760")


def test_edges_keep_their_curve_in_another_crs():
    # The parallel of 59 N over 20 degrees: in LAEA Europe its middle lies south of its ends, at 10 E.
    aoi = load(bbox=[0, 59, 20, 60])
    bottom = aoi.to_crs(pyproj.CRS("EPSG:3035")).bounds[1]
    _, middle = pyproj.Transformer.from_crs(4326, 3035, always_xy=True).transform(10, 59)
    _, corner = pyproj.Transformer.from_crs(4326, 3035, always_xy=True).transform(0, 59)
    assert corner - middle > 40_000
    assert bottom == pytest.approx(middle, abs=50)


def test_search_geometry_holds_the_area_and_stays_small():
    circle = shapely.Point(4, 50).buffer(0.5, quad_segs=5000)
    assert shapely.get_num_coordinates(circle) > 20_000
    fan = circle.difference(shapely.box(3.9, 50, 4.1, 51))
    searched = shapely.geometry.shape(load(geojson=shapely.geometry.mapping(fan)).search_geometry())
    assert searched.buffer(1e-9).contains(fan)
    small = shapely.geometry.shape(load(bbox=[4, 50, 5, 51]).search_geometry())
    assert small.equals(shapely.box(4, 50, 5, 51))


def test_hash_follows_the_vertices_and_the_crs_only(tmp_path):
    reference = load(bbox=[4, 50, 5, 51]).content_hash()
    assert load(file=saved(tmp_path / "a.gpkg", shapely.box(4, 50, 5, 51))).content_hash() == reference
    turned = shapely.Polygon([(5, 51), (5, 50), (4, 50), (4, 51)])
    assert load(geojson=shapely.geometry.mapping(turned)).content_hash() == reference
    assert load(bbox=[4, 50, 5, 51.000001]).content_hash() != reference
    assert load(bbox=[4, 50, 5, 51], crs="EPSG:4258").content_hash() != reference


@pytest.mark.parametrize(
    ("name", "options", "epsg", "hectares"),
    [
        ("farm.gpkg", {}, 4326, 2.94),
        ("fields_T31UES_epsg32631.gpkg", {}, 32631, None),
        ("nl_brp2023_100_epsg28992.gpkg", {}, 28992, None),
        ("zion_polygon_z.geojson", {}, 4326, None),
        ("zion_np_custom_crs.gpkg", {}, None, None),
        ("no_crs_shp/olinda_tracts_no_prj.shp", {"crs": "EPSG:4326"}, 4326, None),
        ("ny_tracts_invalid_epsg32618.gpkg", {"repair": True}, 32618, None),
        ("SYNTHETIC_bowtie.geojson", {"repair": True}, 4326, None),
        ("zion_points.geojson", {"buffer": 30}, 4326, None),
    ],
)
def test_real_files_are_read(name, options, epsg, hectares):
    aoi = load(file=shared(name), **options)
    assert aoi.crs.to_epsg() == epsg
    assert aoi.geometry.is_valid
    if hectares:
        area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(aoi.lonlat))
        assert area / 1e4 == pytest.approx(hectares, abs=0.01)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_crs_shp/olinda_tracts_no_prj.shp", r"^olinda_tracts_no_prj\.shp has no CRS"),
        ("zion_points.geojson", r"^zion_points\.geojson holds only MultiPoint geometry, which has no area"),
        ("SYNTHETIC_bowtie.geojson", r"feature 1 of 1 is not a valid polygon \(Self-intersection"),
        ("ny_tracts_invalid_epsg32618.gpkg", r"feature 1 of 5 is not a valid polygon"),
        ("fiji_antimeridian.geojson", r"^fiji_antimeridian\.geojson crosses the antimeridian \(longitudes -180 to 180"),
    ],
)
def test_real_traps_are_named(name, expected):
    with pytest.raises(AOIError, match=expected):
        load(file=shared(name))
