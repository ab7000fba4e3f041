"""Which numbers a file holds: exact casts, physical values, and what decides a product's key."""

import numpy as np
import pytest

from eeflow.encoding import encoding_of, output_content
from eeflow.errors import ConfigError, ValueOutOfRange
from eeflow.series import BandType


@pytest.fixture
def encoding(make_job):
    """The encoding of bands, by name and dtype, with the given `output`."""

    def make(bands, collection="some/collection", content=False, **output):
        job = make_job(collection=collection, output={"root": "data", **output})
        types = [BandType(name, dtype) for name, dtype in bands.items()]
        return (output_content if content else encoding_of)(job, collection, types)

    return make


@pytest.mark.parametrize(
    ("source", "values", "target", "expected"),
    [
        ("uint16", [0, 255], "uint8", [0, 255]),
        ("int16", [-128, 127], "int8", [-128, 127]),
        ("uint8", [0, 255], "int16", [0, 255]),
        ("int32", [-(2**31), 2**31 - 1], "float64", [-(2.0**31), 2.0**31 - 1]),
        ("uint32", [2**24], "float32", [16777216.0]),
        ("float32", [0.5, 1.5, 2.5, -0.5, 254.5], "uint8", [0, 2, 2, 0, 254]),
        ("float64", [4294967295.0, 4294967295.4], "uint32", [4294967295, 4294967295]),
        ("float64", [0.1, np.inf], "float32", [np.float32(0.1), np.inf]),
        ("float32", [0.1], "float64", [float(np.float32(0.1))]),
    ],
)
def test_cast_is_exact_or_rounds_to_the_nearest(encoding, source, values, target, expected):
    array = np.array([[values]], source)
    stored = encoding({"b": source}, dtype=target).encode(array, np.ones(array.shape, bool))
    assert stored.dtype == target
    np.testing.assert_array_equal(stored[0, 0], np.array(expected, target))


@pytest.mark.parametrize(
    ("source", "values", "target", "message"),
    [
        ("uint16", [3, 256], "uint8", r"^Band b has the value 256, which uint8 cannot hold \(0 to 255\)\. No file was"),
        ("uint16", [65535], "int16", r"value 65535, which int16 cannot hold \(-32,768 to 32,767\)"),
        ("int16", [-1], "uint16", r"value -1, which uint16"),
        ("int32", [-1], "uint32", r"value -1, which uint32"),
        ("float32", [255.5], "uint8", r"value 256.0, which uint8"),
        ("float32", [2.0**31], "int32", r"value 2147483648.0, which int32"),
        ("float32", [np.nan], "int16", r"value nan, which int16"),
        ("float64", [-np.inf], "int16", r"value -inf, which int16"),
        ("int32", [2**24 + 1], "float32", r"value 16777217, which float32 .*only up to 16,777,216 exactly"),
        ("int64", [-(2**53) - 1], "float64", r"value -9007199254740993, which float64"),
        ("float64", [1e39], "float32", r"value 1e\+39, which float32 cannot hold \(up to 3.40"),
    ],
)
def test_value_that_does_not_fit_is_an_error_and_no_error_where_it_is_masked(encoding, source, values, target, message):
    array = np.array([[values]], source)
    cast = encoding({"b": source}, dtype=target).encode
    with pytest.raises(ValueOutOfRange, match=message):
        cast(array, np.ones(array.shape, bool))
    assert cast(array, np.zeros(array.shape, bool)).dtype == target


def test_physical_values_are_rounded_once(encoding):
    every = np.arange(65536, dtype="uint16").reshape(1, 256, 256)
    stored = encoding({"SR_B4": "uint16"}, "LANDSAT/LC08/C02/T1_L2", reflectance=True).encode(every, every > 0)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, (every.astype("float64") * 0.0000275 + -0.2).astype("float32"))
    # 0.0001 in 32-bit floats would give 0.29999998 for 3000.
    of_s2 = encoding({"B4": "uint16"}, "COPERNICUS/S2_SR_HARMONIZED", reflectance=True, dtype="float64")
    assert of_s2.encode(np.full((1, 1, 1), 3000, "uint16"), np.ones((1, 1, 1), bool))[0, 0, 0] == 0.3


def test_classes_and_indices_stay_what_they_are_beside_physical_values(encoding):
    bands = {"B4": "uint16", "SCL": "uint8", "NDVI": "float32"}
    values = np.array([[[3000]], [[11]], [[0.5]]], "float32")
    stored = encoding(bands, "COPERNICUS/S2_SR_HARMONIZED", reflectance=True).encode(values, np.ones((3, 1, 1), bool))
    assert stored[:, 0, 0].tolist() == [np.float32(0.3), 11, 0.5]


@pytest.mark.parametrize(
    ("collection", "band", "message"),
    [
        (
            "COPERNICUS/S2_SR",
            "B4",
            r"values of B4 of COPERNICUS/S2_SR cannot .*shifted by 1000 .* with _HARMONIZED; or",
        ),
        ("some/collection", "b1", r"values of b1 of some/collection cannot be told: no preset gives their scale"),
        ("COPERNICUS/S2_SR_HARMONIZED", "B99", r"values of B99 .*EEFLOW_PRESETS"),
    ],
)
def test_reflectance_that_cannot_be_told_is_refused_before_anything_is_asked_for(encoding, collection, band, message):
    for content in (False, True):
        with pytest.raises(ConfigError, match=message):
            encoding({band: "uint16"}, collection, content=content, reflectance=True)


def test_floats_without_a_preset_are_physical_values_already(encoding):
    assert encoding({"b1": "float64"}, reflectance=True).dtype == np.float32


def test_whole_numbers_for_physical_values_are_refused(make_job):
    with pytest.raises(
        ConfigError, match=r"output has dtype int16 with reflectance: true; physical values are float32"
    ):
        make_job(output={"reflectance": True, "dtype": "int16"})


@pytest.mark.parametrize(
    ("collection", "bands", "resampling"),
    [
        ("COPERNICUS/S2_SR_HARMONIZED", {"B4": "uint16", "NDVI": "float32"}, "average"),
        ("COPERNICUS/S2_SR_HARMONIZED", {"B4": "uint16", "SCL": "uint8"}, "nearest"),
        ("COPERNICUS/S2_SR_HARMONIZED", {"SCL": "uint8", "QA60": "uint16"}, "mode"),
        ("ESA/WorldCover/v200", {"Map": "uint8"}, "mode"),
        ("some/collection", {"b1": "float32"}, "average"),
        ("some/collection", {"b1": "uint8"}, "nearest"),
    ],
)
def test_overviews_go_by_kind_of_data(encoding, collection, bands, resampling):
    assert encoding(bands, collection).resampling == resampling


@pytest.mark.parametrize(
    ("collection", "bands", "output", "nodata"),
    [
        ("ESA/WorldCover/v200", {"Map": "uint8"}, {}, 0),
        ("MODIS/061/MOD13Q1", {"NDVI": "int16", "EVI": "int16"}, {}, -3000),
        ("MODIS/061/MOD13Q1", {"NDVI": "int16", "DayOfYear": "int16"}, {}, None),
        ("MODIS/061/MOD13Q1", {"NDVI": "int16"}, {"dtype": "uint16"}, None),
        ("MODIS/061/MOD13Q1", {"NDVI": "int16"}, {"reflectance": True}, None),
        ("COPERNICUS/S2_SR_HARMONIZED", {"B4": "uint16"}, {}, None),
    ],
)
def test_presets_nodata_holds_where_all_bands_and_the_dtype_agree(encoding, collection, bands, output, nodata):
    assert encoding(bands, collection, **output).nodata == nodata


def test_content_changes_with_what_changes_the_file_alone(encoding):
    def content(**output):
        return encoding({"SR_B4": "uint16"}, "LANDSAT/LC08/C02/T1_L2", content=True, **output)

    same = [content(), content(dtype="uint16"), content(quicklook=False, stac=False, table="csv")]
    other = [
        content(format="gtiff"), content(compress="zstd"), content(dtype="int32"), content(reflectance=True),
        content(reflectance=True, dtype="float64"),
    ]  # fmt: skip
    assert same == [same[0]] * 3
    assert len({str(each) for each in [same[0], *other]}) == 6


def test_content_changes_with_the_scale_that_was_applied(encoding, tmp_path, monkeypatch):
    bands, collection = {"B4": "uint16"}, "COPERNICUS/S2_SR_HARMONIZED"
    before = [encoding(bands, collection, content=True, reflectance=flag) for flag in (False, True)]
    own = tmp_path / "presets.yaml"
    own.write_text("collections: {COPERNICUS/S2_SR_HARMONIZED: {bands: {B4: {scale: 0.0002}}}}")
    monkeypatch.setenv("EEFLOW_PRESETS", str(own))
    after = [encoding(bands, collection, content=True, reflectance=flag) for flag in (False, True)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]
