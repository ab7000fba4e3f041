"""edown on eelocal: it signs in with a service account, searches, and downloads a stack; equal to the files.

Types, fill and names of files are edown's own rules (`constants.py`, `utils.py`, `grid.py`).
"""

import json

import ee
import numpy as np
import pytest
import rasterio
from peer_scenes import L8, L8_CRS, S2, S2_CRS, S2_STAMPS, S2_TRANSFORM, Truth, index, write_scenes
from pyproj import Transformer
from rasterio.transform import Affine
from test_eelocal_support import connect

from eelocal import LocalEarthEngine

edown = pytest.importorskip("edown")
AREA = (4.4135, 50.5392, 4.4195, 50.5427)
FILL = 32767  # edown takes every integer band for int16


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A server that asks for credentials, and edown's environment variables with a key to it."""
    root, key = tmp_path_factory.mktemp("scenes"), tmp_path_factory.mktemp("key") / "key.json"
    write_scenes(root)
    before = ee.data._get_state().cloud_api_base_url if ee.data.is_initialized() else None
    with LocalEarthEngine(data=[root], world=False, oauth=key) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)
        patch.setenv("GEE_SERVICE_ACCOUNT", json.loads(key.read_text())["client_email"])
        patch.setenv("GEE_SERVICE_ACCOUNT_KEY", str(key))
        running.truth = Truth(root)
        yield running
        ee.Reset()
        if before is not None and before.startswith("http://127.0.0.1"):
            try:
                connect(before)
            except OSError:
                ee.Reset()


def asking(engine, **wanted):
    return {
        "collection_id": S2,
        "start_date": "2021-06-01",
        "end_date": "2021-06-16",
        "aoi": edown.AOI.from_bbox(AREA),
        "server_url": engine.url,
        **wanted,
    }


def downloaded(engine, folder, **wanted):
    return edown.download_images(edown.DownloadConfig(output_root=folder, **asking(engine, **wanted)))


def window(transform, crs, size):
    """Rows and columns that edown downloads: the pixels of the area's bounds, in whole chunks."""
    xs, ys = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(
        [AREA[0], AREA[0], AREA[2], AREA[2]], [AREA[1], AREA[3], AREA[1], AREA[3]]
    )
    cols, rows = ~transform @ (np.array(xs), np.array(ys))
    found = []
    for values in (rows, cols):
        first, last = int(np.floor(values.min())), int(np.ceil(values.max()))
        found.append(slice(first // size * size, -(-last // size) * size))
    return tuple(found)


def test_search_finds_scenes_and_their_grids_documented(engine):
    found = edown.search_images(edown.SearchConfig(**asking(engine, bands=("B04", "B8"))))
    assert [image.image_id for image in found.images] == [f"{S2}/{index(scene)}" for scene in range(4)]
    assert found.selected_band_ids == ("B4", "B8")
    first = found.images[0]
    assert first.acquisition_time_utc.isoformat() == "2021-06-01T10:50:22+00:00"
    assert first.properties["CLOUDY_PIXEL_PERCENTAGE"] == 12.5
    assert first.available_band_ids == ("B1", "B2", "B3", "B4", "B8", "B11", "SCL", "QA60")
    assert (first.native_crs, first.native_transform) == (S2_CRS, (60, 0, 600000, 0, -60, 5600040))  # of the first band
    assert (first.native_width, first.native_height) == (12, 10)
    assert first.native_bounds == (600000, 5599440, 600720, 5600040)
    assert [len(group.image_ids) for group in found.alignment_groups] == [4]


def test_search_by_bands_days_and_place_documented(engine):
    def search(**wanted):
        return edown.search_images(edown.SearchConfig(**asking(engine, **wanted)))

    some = search(band_include=("^B",), band_exclude=("1",), end_date="2021-06-06", rename_map={"B2": "blue"})
    assert some.selected_band_ids == ("B2", "B3", "B4", "B8")
    assert some.output_band_names == ("blue", "B3", "B4", "B8")
    assert len(some.images) == 2  # the last day is one of them
    parts = search(end_date="2023-12-31", collection_chunk_limit=1)  # asks for ever shorter times
    assert [image.image_id for image in parts.images] == [f"{S2}/{index(scene)}" for scene in range(5)]
    for missed in ({"end_date": "2021-06-01", "start_date": "2021-05-01", "aoi": edown.AOI.from_bbox((5, 50, 6, 51))},
                   {"start_date": "2022-01-01", "end_date": "2022-12-31"}):  # fmt: skip
        with pytest.raises(edown.errors.DiscoveryError, match="No images found"):
            search(**missed)


@pytest.fixture(scope="module")
def landsat(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("landsat")
    area = edown.AOI.from_bbox((21.0070, 36.1305, 21.0200, 36.1390))
    wanted = {"collection_id": L8, "end_date": "2021-06-30", "aoi": area, "bands": ("SR_B2", "SR_B4", "QA_PIXEL")}
    return downloaded(engine, folder, chunk_size=16, chunk_size_mode="fixed", **wanted), folder, wanted


def test_a_stack_of_scenes_is_downloaded_documented(engine, landsat):
    summary, _, _ = landsat
    assert [result.status for result in summary.results] == ["downloaded", "downloaded"]
    assert [result.chunk_count for result in summary.results] == [6, 6]
    for scene, result in enumerate(summary.results):
        bands = engine.truth.l8(scene)
        with rasterio.open(result.tiff_path) as dataset:
            assert dataset.crs == L8_CRS
            assert dataset.transform == Affine(30, 0, 500685, 0, -30, 3999315)
            assert dataset.shape == (28, 36)
            assert dataset.descriptions == ("SR_B2", "SR_B4", "QA_PIXEL")
            assert (set(dataset.dtypes), dataset.nodata) == ({"int16"}, FILL)
            for name, found in zip(dataset.descriptions, dataset.read(), strict=True):
                # What is masked is 0 in Earth Engine's answer; edown turns 40000 into -25536.
                assert np.array_equal(found, bands[name].filled(0).astype("int16"))
        properties = json.loads(result.metadata_path.read_text())["properties"]
        assert properties["system:time_start"] == (1622678400000, 1624060800000)[scene]
    manifest = json.loads(summary.manifest_path.read_text())
    assert [image["image_id"] for image in manifest["search"]["images"]] == [r.image_id for r in summary.results]


def test_what_is_there_is_not_fetched_again_documented(engine, landsat):
    _, folder, wanted = landsat
    before = engine.counts.get("assets:getPixels", 0)
    assert before >= 12
    again = downloaded(engine, folder, chunk_size=16, chunk_size_mode="fixed", **wanted)
    assert {result.status for result in again.results} == {"skipped_existing"}
    assert engine.counts["assets:getPixels"] == before


def test_an_area_is_downloaded_in_whole_chunks_with_fill_around_documented(engine, tmp_path):
    # The grid is that of the first band: 60 m. Bands of 10 m are its nearest pixels there.
    summary = downloaded(engine, tmp_path, bands=("B1", "B4"), chunk_size=4, chunk_size_mode="fixed", nodata=-1)
    coarse = S2_TRANSFORM @ Affine.scale(6)
    rows, cols = window(coarse, S2_CRS, 4)
    assert (rows, cols) != (slice(0, 10), slice(0, 12))
    for scene, result in enumerate(summary.results):
        bands = engine.truth.s2(scene)
        with rasterio.open(result.tiff_path) as dataset:
            assert dataset.transform == coarse @ Affine.translation(cols.start, rows.start)
            assert dataset.nodata == -1
            assert np.array_equal(dataset.read(1), bands["B1"].filled(0)[::6, ::6][rows, cols])
            assert np.array_equal(dataset.read(2), bands["B4"].filled(0)[3::6, 3::6][rows, cols])


def test_scaled_bands_are_computed_documented(engine, tmp_path):
    summary = downloaded(engine, tmp_path, bands=("B1",), scale_map={"B1": 0.0001}, end_date="2021-06-05")
    assert [result.tiff_path.stem for result in summary.results] == [f"{S2}/{index(0)}".replace("/", "_")]
    with rasterio.open(summary.results[0].tiff_path) as dataset:
        col, row = (round(v) for v in ~(S2_TRANSFORM @ Affine.scale(6)) @ (dataset.transform.c, dataset.transform.f))
        expected = engine.truth.s2(0)["B1"].data[::6, ::6][row : row + dataset.height, col : col + dataset.width]
        assert dataset.dtypes == ("float32",)
        assert np.isnan(dataset.nodata)
        assert np.allclose(dataset.read(1), expected * 0.0001, rtol=1e-6)
    assert summary.results[0].image_id.endswith(S2_STAMPS[0] + "_T31UES")
