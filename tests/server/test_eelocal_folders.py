"""`--data`: folders of GeoTIFFs with and without a catalogue, and STAC; all rasters are made here."""

import json

import ee
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from test_eelocal_support import serving

CRS = "EPSG:32631"


def write(path, bands, *, size=10.0, nodata=None, names=None, mask=None, tags=None, scale=None, crs=CRS):
    bands = np.asarray(bands)
    bands = bands[None] if bands.ndim == 2 else bands
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "height": bands.shape[1],
        "width": bands.shape[2],
        "count": len(bands),
        "dtype": bands.dtype,
        "nodata": nodata,
    }
    if crs:
        profile |= {"crs": crs, "transform": from_origin(500000, 5000000, size, size)}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(bands)
        for i, name in enumerate(names or [], 1):
            dataset.set_band_description(i, name)
        if mask is not None:
            dataset.write_mask(mask)
        if tags:
            dataset.update_tags(**tags)
        if scale:
            dataset.scales, dataset.offsets = [scale[0]] * len(bands), [scale[1]] * len(bands)


def ramp(height, width, start=1, dtype="uint16"):
    return (start + np.arange(height * width).reshape(height, width)).astype(dtype)


def pixels(image, size=10, width=6, height=4):
    affine = dict(zip(("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY"),
                      (size, 0, 500000, 0, -size, 5000000), strict=True))  # fmt: skip
    grid = {"dimensions": {"width": width, "height": height}, "affineTransform": affine, "crsCode": CRS}
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid})


def test_every_folder_is_a_collection_ids_and_times_are_in_the_names_assumed(tmp_path):
    write(tmp_path / "farm" / "wheat" / "shot_20200305T101500.tif", ramp(4, 6), names=["nir"])
    write(tmp_path / "farm" / "wheat" / "shot_2020-04-05.tif", ramp(4, 6, 100), names=["nir"])
    write(tmp_path / "farm" / "maize" / "one.tif", ramp(4, 6), tags={"ACQUISITIONDATETIME": "2019:01:02 03:04:05"})
    with serving(data=[tmp_path / "farm"]):
        wheat = ee.ImageCollection("farm/wheat")
        assert wheat.aggregate_array("system:index").getInfo() == ["shot_2020-04-05", "shot_20200305T101500"]
        march = wheat.filterDate("2020-03-01", "2020-04-01")
        assert march.aggregate_array("system:time_start").getInfo() == [1583403300000]
        assert np.array_equal(pixels(march.first())["nir"], ramp(4, 6))
        one = ee.ImageCollection("farm/maize").first()
        assert one.date().format("yyyy-MM-dd HH:mm:ss").getInfo() == "2019-01-02 03:04:05"
        assert one.get("ACQUISITIONDATETIME").getInfo() == "2019:01:02 03:04:05"


def test_files_of_one_scene_have_different_resolutions_assumed(tmp_path):
    folder = tmp_path / "s2"
    write(folder / "T31_20200101_10m.tif", [ramp(4, 6), ramp(4, 6, 50)], names=["B4", "B8"])
    write(folder / "T31_20200101_20m.tif", ramp(2, 3, 200), size=20, names=["B11"])
    write(folder / "L8_20200101_B4.tif", ramp(4, 6, 7))
    write(folder / "L8_20200101_B5.tif", ramp(4, 6, 9))
    with serving(data=[folder]):
        found = {i["properties"]["system:index"]: i for i in ee.ImageCollection("s2").getInfo()["features"]}
        assert [(b["id"], b["crs_transform"][0]) for b in found["T31_20200101"]["bands"]] == [
            ("B4", 10),
            ("B8", 10),
            ("B11", 20),
        ]
        image = pixels(ee.Image("s2/T31_20200101"))
        assert np.array_equal(image["B8"], ramp(4, 6, 50))
        assert np.array_equal(image["B11"], np.kron(ramp(2, 3, 200), np.ones((2, 2))))
        assert np.array_equal(pixels(ee.Image("s2/L8_20200101"))["B5"], ramp(4, 6, 9))


def test_nodata_masks_and_scales_of_files_documented(tmp_path):
    hole = np.full((4, 6), 255, np.uint8)
    hole[1, 2] = 0
    values = ramp(4, 6)
    values[0, 0] = 0
    write(tmp_path / "d" / "nodata.tif", values, nodata=0)
    write(tmp_path / "d" / "mask.tif", ramp(4, 6), mask=hole)
    write(tmp_path / "d" / "nan.tif", np.where(hole == 0, np.nan, 1.5).astype("float32"), nodata=np.nan)
    write(tmp_path / "d" / "scaled.tif", ramp(4, 6), scale=(0.5, -1.0))
    with serving(data=[tmp_path / "d"]):
        valid = {name: pixels(ee.Image(f"d/{name}").mask())["B1"] != 0 for name in ("nodata", "mask", "nan")}
        assert np.array_equal(valid["nodata"], values != 0)
        assert np.array_equal(valid["mask"], hole != 0)
        assert np.array_equal(valid["nan"], hole != 0)
        scaled = ee.Image("d/scaled")
        assert np.array_equal(pixels(scaled)["B1"], ramp(4, 6))  # as stored, as Earth Engine has it
        assert scaled.toDictionary(["B1_scale", "B1_offset"]).getInfo() == {"B1_scale": 0.5, "B1_offset": -1}


def test_pyramiding_is_set_per_band_and_scales_can_be_applied_documented(tmp_path):
    rng = np.random.default_rng(3)
    classes = rng.integers(1, 4, (1024, 1024)).astype(np.uint8)
    write(tmp_path / "c.tif", [classes, classes, classes], names=["mean", "mode", "sample"], scale=(2.0, 1.0))
    catalogue = tmp_path / "eelocal.yaml"
    catalogue.write_text(
        "collections:\n"
        "  - {id: C, folder: ., pyramiding: {mode: MODE, sample: SAMPLE}}\n"
        "  - {id: SCALED, folder: ., scaled: true, bands: [mean]}\n"
    )
    with serving(data=[tmp_path]):
        found = pixels(ee.Image("C/c"), size=20)
        blocks = classes[:8, :12].reshape(4, 2, 6, 2).transpose(0, 2, 1, 3).reshape(4, 6, 4)
        assert np.array_equal(found["mean"], np.rint(blocks.mean(axis=-1)))
        assert np.array_equal(found["sample"], blocks[..., 0])
        counts = np.stack([(blocks == value).sum(axis=-1) for value in (1, 2, 3)], axis=-1)
        assert np.array_equal(found["mode"], counts.argmax(axis=-1) + 1)
        scaled = pixels(ee.Image("SCALED/c"))["mean"]
        assert scaled.dtype == np.float32
        assert np.array_equal(scaled, classes[:4, :6] * 2.0 + 1)


@pytest.fixture
def stac(tmp_path):
    write(tmp_path / "data" / "a.tif", [ramp(4, 6), ramp(4, 6, 50)])
    write(tmp_path / "data" / "scl.tif", ramp(2, 3, 1, "uint8"), size=20)
    write(tmp_path / "data" / "bare.tif", ramp(4, 6), crs=None)

    def item(identity, assets, **properties):
        return {"type": "Feature", "stac_version": "1.0.0", "id": identity, "properties": properties, "assets": assets}

    bands = [{"name": "red"}, {"name": "nir"}]
    first = item(
        "scene-a",
        {
            "image": {"href": "../data/a.tif", "eo:bands": bands, "raster:bands": [{"nodata": 1}, {}]},
            "SCL": {"href": "../data/scl.tif", "classification:classes": [{"value": 1}]},
            "thumbnail": {"href": "../data/a.png", "roles": ["thumbnail"]},
        },
        datetime="2021-05-06T07:08:09Z",
        **{"eo:cloud_cover": 12.5},
    )
    second = item(
        "scene-b",
        {"grey": {"href": "../data/bare.tif"}},
        datetime="2021-06-01T00:00:00Z",
        **{"proj:code": CRS, "proj:transform": [10, 0, 500000, 0, -10, 5000000]},
    )
    files = {
        "catalog.json": {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "root",
            "links": [{"rel": "child", "href": "fields/collection.json"}],
        },
        "fields/collection.json": {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "fields",
            "title": "Fields",
            "links": [{"rel": "item", "href": f"./{name}.json"} for name in "ab"]
            + [{"rel": "root", "href": "../catalog.json"}],
        },
        "fields/a.json": first,
        "fields/b.json": second,
    }
    for name, body in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(body))
    return tmp_path


@pytest.mark.parametrize("entry", ["", "catalog.json", "fields/collection.json"])
def test_a_stac_catalogue_is_served_documented(stac, entry):
    with serving(data=[stac / entry]):
        collection = ee.ImageCollection("fields")
        assert collection.filterDate("2021-05-01", "2021-06-01").aggregate_array("system:index").getInfo() == [
            "scene-a"
        ]
        image = ee.Image("fields/scene-a")
        assert image.bandNames().getInfo() == ["red", "nir", "SCL"]
        assert image.get("system:time_start").getInfo() == 1620284889000
        assert collection.filter(ee.Filter.lt("eo:cloud_cover", 20)).size().getInfo() == 1
        found = pixels(image)
        assert np.array_equal(found["nir"], ramp(4, 6, 50))
        assert np.array_equal(pixels(image.mask())["red"] != 0, ramp(4, 6) != 1)
        assert np.array_equal(found["SCL"], np.kron(ramp(2, 3), np.ones((2, 2))))
        assert np.array_equal(pixels(ee.Image("fields/scene-b"))["grey"], ramp(4, 6))


def test_a_stac_item_with_a_file_elsewhere_says_so(stac):
    body = json.loads((stac / "fields/a.json").read_text())
    body["assets"]["image"]["href"] = "https://example.org/a.tif"
    (stac / "fields/a.json").write_text(json.dumps(body))
    with pytest.raises(ValueError, match="only files on this disk"), serving(data=[stac]):
        pass
