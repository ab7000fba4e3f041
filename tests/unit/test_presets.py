"""What presets say, checked against numbers worked by hand from the catalogue's pages; the user's file over them."""

import json

import pytest

from eeflow.errors import ConfigError
from eeflow.presets import band_preset, preset_for, presets, with_preset
from eeflow.recipe import make_recipe
from flows import presetlist


@pytest.fixture
def own_presets(tmp_path, monkeypatch):
    """Lays a file of presets over the package's."""

    def write(text):
        path = tmp_path / "presets.yaml"
        path.write_text(text)
        monkeypatch.setenv("EEFLOW_PRESETS", str(path))
        return path

    return write


@pytest.mark.parametrize(
    ("source", "band", "stored", "physical", "unit"),
    [
        ("COPERNICUS/S2_SR_HARMONIZED", "B8", 3000, 0.3, ""),
        ("COPERNICUS/S2_HARMONIZED", "B11", 1234, 0.1234, ""),
        ("COPERNICUS/S2_SR_HARMONIZED", "WVP", 2500, 2.5, "cm"),
        ("LANDSAT/LC08/C02/T1_L2", "SR_B5", 20000, 0.35, ""),
        ("LANDSAT/LC09/C02/T2_L2", "ST_B10", 44177, 299.99786954, "K"),
        ("LANDSAT/LT05/C02/T1_L2", "SR_B4", 20000, 0.35, ""),
        ("MODIS/061/MOD13Q1", "NDVI", 8200, 0.82, ""),
        ("MODIS/061/MYD11A1", "LST_Night_1km", 14500, 290, "K"),
        ("MODIS/061/MOD11A1", "Emis_31", 245, 0.98, ""),
        ("MODIS/061/MOD11A1", "Day_view_angle", 65, 0, "deg"),
        ("COPERNICUS/S1_GRD", "VV", -12.5, -12.5, "dB"),
        ("ECMWF/ERA5_LAND/DAILY_AGGR", "temperature_2m", 290.5, 290.5, "K"),
        ("UCSB-CHG/CHIRPS/DAILY", "precipitation", 12, 12, "mm/d"),
        ("NASA/NASADEM_HGT/001", "elevation", 431, 431, "m"),
        ("COPERNICUS/DEM/GLO30", "DEM", 431.5, 431.5, "m"),
    ],
)
def test_physical_values_are_those_of_the_catalogue(source, band, stored, physical, unit):
    known = preset_for(source).band(band)
    assert stored * known.scale + known.offset == pytest.approx(physical, abs=1e-9)
    assert known.unit == unit


def test_harmonized_numbers_are_not_offset_again_and_others_are_not_scaled_at_all():
    for level in ("COPERNICUS/S2_SR", "COPERNICUS/S2"):
        harmonized, shifted = preset_for(f"{level}_HARMONIZED"), preset_for(level)
        assert harmonized.scaling["B4"] == (0.0001, 0.0)
        assert shifted.scaling is None
        assert (shifted.band("B4").scale, shifted.band("B4").offset) == (1.0, 0.0)
        assert shifted.common_names == harmonized.common_names


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("projects/earthengine-public/assets/USGS/SRTMGL1_003", "SRTM elevation, 1 arc second"),
        ("ESA/WorldCover/v100", "ESA WorldCover land cover, 10 m"),
        ("ESA/WorldCover/v200/2021", "ESA WorldCover land cover, 10 m"),
        ("LANDSAT/LE07/C02/T1_L2", "Landsat 4, 5 and 7 surface reflectance and temperature, Collection 2 Level 2"),
        ("LANDSAT/LC08/C02/T1_TOA", None),
        ("MODIS/006/MOD13Q1", None),
        ("projects/mine/assets/S2", None),
    ],
)
def test_family_image_and_public_prefix_find_their_preset(source, title):
    preset = preset_for(source)
    assert (preset and preset.title) == title


def test_common_names_are_those_of_the_list_of_indices():
    import spyndex

    for preset in presets().collections.values():
        for name, band in preset.common_names.items():
            assert name in spyndex.bands, band
    assert preset_for("LANDSAT/LC08/C02/T1_L2").common_names["N"] == "SR_B5"
    assert preset_for("LANDSAT/LT05/C02/T1_L2").common_names["N"] == "SR_B4"
    assert preset_for("COPERNICUS/S1_GRD").common_names == {}  # the radar indices are over power, these are decibels


def test_of_a_band_nobody_lists_only_floats_are_taken_for_continuous():
    assert band_preset("some/collection", "b1", "float32").kind == "continuous"
    assert band_preset("some/collection", "b1", "uint8").kind is None
    assert band_preset("some/collection", "NDVI", "float32").palette == "vegetation"


def test_job_without_bands_takes_the_usual_ones_that_all_scenes_have(make_job, make_series):
    def bands_of(collection, names, **job):
        scenes = make_series(bands=dict.fromkeys(names, "uint16")).images
        scenes = [scene for image in scenes for scene in image.scenes]
        return make_recipe(make_job(collection=collection, **job), scenes)[0]

    assert bands_of("COPERNICUS/S1_GRD", ["HH", "HV", "angle"]) == ["HH", "HV"]
    assert bands_of("COPERNICUS/S2_HARMONIZED", ["B1", "B8", "B2"]) == ["B2", "B8"]
    assert bands_of("COPERNICUS/S2_HARMONIZED", ["B1", "B8"], bands=["B1"]) == ["B1"]
    assert bands_of("COPERNICUS/S2_HARMONIZED", ["x", "y"]) == ["x", "y"]
    assert bands_of("some/collection", ["x", "y"]) == ["x", "y"]


def test_elevation_tiles_are_mosaicked_unless_the_job_says_what_it_wants(make_job):
    tiles = make_job(collection="COPERNICUS/DEM/GLO30", dates=None, product={"min_valid_fraction": 0.5})
    merged = with_preset(tiles)
    assert (merged.product.kind, merged.product.method, merged.product.min_valid_fraction) == (
        "composite",
        "mosaic",
        0.5,
    )
    said = make_job(collection="COPERNICUS/DEM/GLO30", product={"kind": "scene"})
    assert with_preset(said) is said
    assert with_preset(make_job()).product.kind == "scene"
    tile = make_job(collection=None, dates=None, image="COPERNICUS/DEM/GLO30/N50E004")
    assert with_preset(tile) is tile


@pytest.mark.parametrize(
    "product", [{}, {"kind": "day"}, {"kind": "composite"}, {"kind": "composite", "method": "mosaic", "every": "month"}]
)
def test_only_a_mosaic_of_a_whole_collection_needs_no_dates(make_job, product):
    with pytest.raises(
        ConfigError, match=r"^farm: the job needs dates for a collection, such as dates: {last: 30d}\.$"
    ):
        with_preset(make_job(dates=None, product=product))
    whole = make_job(dates=None, product={"kind": "composite", "method": "mosaic"})
    assert with_preset(whole) is whole


def test_own_file_changes_single_facts_and_adds_collections(own_presets):
    path = own_presets(
        "collections:\n  COPERNICUS/S2_SR_HARMONIZED: {default_bands: [B8], bands: {B8: {unit: '1'}}}\n"
        "  my/*: {title: Mine, kind: other, bands: {b1: {scale: 0.5, palette: ours}}}\npalettes: {ours: ['#ff0000']}\n"
    )
    changed = preset_for("COPERNICUS/S2_SR_HARMONIZED")
    assert changed.default_bands == ("B8",)
    assert (changed.band("B8").unit, changed.band("B8").scale, changed.band("B4").scale) == ("1", 0.0001, 0.0001)
    assert preset_for("my/own/asset").scaling == {"b1": (0.5, 0.0)}
    path.write_text("collections: {}\n# longer, and later\n")
    assert preset_for("my/own/asset") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"presets.yaml cannot be read: No such file"),
        ("collections: [1", r"presets.yaml is not valid YAML at line"),
        (
            "collections: {x: {title: a, knd: b}}",
            r"collections.x.kind is missing.*collections.x.knd is not a key; did you",
        ),
        (
            "collections: {x: {title: a, kind: other, default_bands: [q], bands: {b: {}}}}",
            r"default_bands q, which bands",
        ),
        ("palettes: {vegetation: [red]}", r"palettes.vegetation.0 is 'red'"),
        ("indices: {NDVI: {palette: pink}}", r"indices.NDVI.palette is 'pink'; it must be one of vegetation, water"),
    ],
)
def test_mistakes_in_the_own_file_are_named(own_presets, text, message):
    path = own_presets(text or "")
    if text is None:
        path.unlink()
    with pytest.raises(ConfigError, match=message):
        preset_for("COPERNICUS/S2")


@pytest.mark.parametrize("columns", ["200", "80", "20", "1"])
def test_list_fits_any_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    presetlist.show()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert columns != "200" or "GOOGLE/DYNAMICWORLD/V1" in "".join(lines)


def test_list_for_programs_leaves_out_what_is_not_known():
    listed = {preset["id"]: preset for preset in json.loads(json.dumps(presetlist.as_json()))}
    assert listed["USGS/SRTMGL1_003"]["bands"]["elevation"] == {"unit": "m", "palette": "elevation", "shaded": True}
    assert listed["ESA/WorldCover/v[12]00"]["bands"]["Map"]["classes"]["95"] == ["Mangroves", "#00cf75"]


def test_every_class_table_and_palette_of_the_package_is_whole():
    for asset_id, preset in presets().collections.items():
        assert preset.title
        for name, band in preset.bands.items():
            assert not band.classes or band.kind == "classes", (asset_id, name)
            colours = [each.colour for each in band.classes.values()]
            assert all(colours) or not any(colours), (asset_id, name)
            assert band.palette is None or band.palette in presets().palettes
