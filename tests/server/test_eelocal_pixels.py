"""computePixels, getPixels, thumbnails, assets and the protocol, through the real client and without it."""

import concurrent.futures
import gzip
import io
import json
import urllib.request
import zipfile

import ee
import numpy as np
import pytest
import rasterio
from test_eelocal_support import SHARED_REFERENCE, CodedCollection, CodedImage, post, serving

NATIVE = {
    "dimensions": {"width": 4, "height": 3},
    "affineTransform": {
        "scaleX": 10,
        "shearX": 0,
        "translateX": 500050,
        "shearY": 0,
        "scaleY": -10,
        "translateY": 4999980,
    },
    "crsCode": "EPSG:32631",
}


@pytest.fixture(scope="module")
def engine():
    holes = CodedImage("T/C/holes", masked=lambda k, row, col: (row + col) % 2 == 0)
    plain = CodedImage("T/C/plain", properties={"system:time_start": 1_600_000_000_000, "cloud": 12.5})
    large = CodedImage("T/LARGE", bands=("B1",), size=(2048, 2048), function=lambda k, r, c: r * 0 + c % 7)
    with serving(CodedCollection("T/C", [holes, plain]), large) as running:
        yield running


def npy(image, grid=NATIVE, **params):
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid, **params})


def coded(k, rows, cols):
    return (k + 1) * 10000 + np.array(rows)[:, None] * 100 + np.array(cols)


def test_native_window_is_read_pixel_by_pixel_documented(engine):
    found = npy(ee.Image("T/C/plain"))
    assert found.dtype == np.dtype([("B1", "<u2"), ("B2", "<u2")])
    assert (found["B1"] == coded(0, range(2, 5), range(5, 9))).all()
    assert (found["B2"] == coded(1, range(2, 5), range(5, 9))).all()


def test_masked_and_outside_pixels_are_zero_documented(engine):
    found = npy(ee.Image("T/C/holes"))["B1"]
    rows, cols = np.mgrid[2:5, 5:9]
    assert (found == np.where((rows + cols) % 2, coded(0, range(2, 5), range(5, 9)), 0)).all()
    outside = npy(ee.Image("T/C/plain"), {**NATIVE, "affineTransform": {**NATIVE["affineTransform"], "translateX": 0}})
    assert (outside["B1"] == 0).all()


def test_coarser_grid_reads_the_level_that_is_no_coarser_documented(engine):
    # Level 1 of the large image has 20 m pixels; its coded value is that of its own column.
    transform = {"scaleX": 30, "shearX": 0, "translateX": 500000, "shearY": 0, "scaleY": -30, "translateY": 5000000}
    grid = {"dimensions": {"width": 6, "height": 1}, "affineTransform": transform, "crsCode": "EPSG:32631"}
    centres = (np.arange(6) + 0.5) * 30
    assert (npy(ee.Image("T/LARGE"), grid)["B1"][0] == np.floor(centres / 20) % 7).all()


def test_other_crs_takes_the_nearest_pixel_documented(engine):
    from pyproj import Transformer

    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
    lon, lat = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform(500100, 4999900)
    size = 5e-5
    transform = {"scaleX": size, "shearX": 0, "translateX": lon, "shearY": 0, "scaleY": -size, "translateY": lat}
    grid = {"dimensions": {"width": 7, "height": 5}, "affineTransform": transform, "crsCode": "EPSG:4326"}
    x, y = to_utm.transform(*np.meshgrid(lon + (np.arange(7) + 0.5) * size, lat - (np.arange(5) + 0.5) * size))
    expected = 10000 + np.floor((5000000 - y) / 10) * 100 + np.floor((x - 500000) / 10)
    assert (npy(ee.Image("T/C/plain"), grid)["B1"] == expected).all()


def test_geotiff_has_the_grid_and_band_names_documented(engine):
    body = ee.data.computePixels({"expression": ee.Image("T/C/plain"), "fileFormat": "GEO_TIFF", "grid": NATIVE})
    with rasterio.open(io.BytesIO(body)) as dataset:
        assert dataset.descriptions == ("B1", "B2")
        assert tuple(dataset.transform[:6]) == (10, 0, 500050, 0, -10, 4999980)
        assert dataset.crs.to_epsg() == 32631
        assert dataset.nodata is None
        assert (dataset.read(1) == coded(0, range(2, 5), range(5, 9))).all()


@pytest.mark.parametrize(
    ("cast", "nodata"), [("toUint16", 0), ("toInt16", -32768), ("toInt32", -(2**31)), ("toFloat", -np.inf)]
)
def test_cast_images_carry_nodata_recorded(engine, cast, nodata):
    # geedim tests/integration.py test_ee_geotiff_nodata
    image = getattr(ee.Image("T/C/holes").select("B1"), cast)()
    body = ee.data.computePixels({"expression": image, "fileFormat": "GEO_TIFF", "grid": NATIVE})
    with rasterio.open(io.BytesIO(body)) as dataset:
        assert dataset.nodata == nodata
        assert dataset.read(1)[0, 0] != nodata
        assert dataset.read(1)[0, 1] == nodata


def test_total_request_size_counts_a_mask_byte_recorded(engine):
    # 4096 x 4096 uint16 with a mask byte: 4096 * 4096 * 3 = 50331648 is allowed; one row more is not.
    grid = {**NATIVE, "dimensions": {"width": 4096, "height": 4097}}
    with pytest.raises(ee.EEException) as caught:
        npy(ee.Image("T/LARGE"), grid)
    assert str(caught.value) == "Total request size (50343936 bytes) must be less than or equal to 50331648 bytes."


def test_pixel_grid_dimensions_recorded(engine):
    with pytest.raises(ee.EEException) as caught:
        npy(ee.Image("T/LARGE"), {**NATIVE, "dimensions": {"width": 40818, "height": 1}})
    assert str(caught.value) == "Pixel grid dimensions (40818x1) must be less than or equal to 32768."


def test_payload_size_recorded(engine):
    status, body = post(engine.url, "/v1/projects/p/value:compute", b" " * 10_485_761)
    assert (status, body["error"]["message"]) == (400, "Request payload size exceeds the limit: 10485760 bytes.")


def test_median_of_a_collection_equals_numpy(engine):
    images = ee.ImageCollection([ee.Image("T/C/plain"), ee.Image("T/C/plain").add(10), ee.Image("T/C/holes").add(100)])
    found = npy(images.median())
    base = coded(0, range(2, 5), range(5, 9)).astype(float)
    rows, cols = np.mgrid[2:5, 5:9]
    holes = np.where((rows + cols) % 2, base + 100, np.nan)
    assert found.dtype["B1"] == np.dtype("<f8")
    assert (found["B1"] == np.nanmedian([base, base + 10, holes], axis=0)).all()


def test_mosaic_takes_the_last_valid_image(engine):
    images = ee.ImageCollection([ee.Image("T/C/plain"), ee.Image("T/C/holes").add(1).toUint16()])
    rows, cols = np.mgrid[2:5, 5:9]
    base = coded(0, range(2, 5), range(5, 9))
    assert (npy(images.mosaic())["B1"] == np.where((rows + cols) % 2, base + 1, base)).all()


def test_arithmetic_keeps_values_that_leave_the_input_type(engine):
    found = npy(ee.Image("T/C/plain").select("B1").subtract(20000).multiply(3))
    assert (found["B1"] == (coded(0, range(2, 5), range(5, 9)) - 20000) * 3).all()


def test_expression_equals_the_operations(engine):
    image = ee.Image("T/C/plain")
    found = npy(image.expression("b('B1') > 10205 ? (i.B2 - b(0)) / 4 : -1", {"i": image}))
    base = coded(0, range(2, 5), range(5, 9))
    name = found.dtype.names[0]
    assert (found[name] == np.where(base > 10205, 2500, -1)).all()


def test_download_url_gives_a_zip_of_one_file_per_band(engine):
    region = ee.Geometry.Rectangle([500050, 4999950, 500090, 4999980], ee.Projection("EPSG:32631"), False)
    url = ee.Image("T/C/plain").getDownloadURL({"region": region, "scale": 10, "crs": "EPSG:32631", "name": "x"})
    with urllib.request.urlopen(url) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    assert archive.namelist() == ["x.B1.tif", "x.B2.tif"]
    with rasterio.open(io.BytesIO(archive.read("x.B2.tif"))) as dataset:
        assert (dataset.read(1) == coded(1, range(2, 5), range(5, 9))).all()
        assert dataset.transform[2] == 500050
        assert dataset.transform[5] == 4999980


def test_thumbnail_is_a_picture(engine):
    url = ee.Image("T/C/plain").getThumbURL(
        {"bands": ["B1"], "min": 10000, "max": 13000, "dimensions": 64, "format": "png"}
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.read(8) == b"\x89PNG\r\n\x1a\n"


def test_sample_rectangle_and_reduce_region_equal_numpy(engine):
    region = ee.Geometry.Rectangle([500050, 4999950, 500090, 4999980], ee.Projection("EPSG:32631"), False)
    base = coded(0, range(2, 5), range(5, 9))
    sampled = ee.Image("T/C/plain").select("B1").sampleRectangle(region).getInfo()
    assert sampled["properties"]["B1"] == base.tolist()
    reducer = ee.Reducer.mean().combine(ee.Reducer.minMax(), "", True)
    found = ee.Image("T/C/plain").select("B1").reduceRegion(reducer, region, 10).getInfo()
    assert found == {"B1_mean": base.mean(), "B1_min": base.min(), "B1_max": base.max()}


def test_pixels_at_the_edge_count_by_the_part_inside_documented(engine):
    # Columns 5 (half inside) and 6 (whole) of row 2.
    region = ee.Geometry.Rectangle([500055, 4999970, 500070, 4999980], ee.Projection("EPSG:32631"), False)
    found = ee.Image("T/C/plain").select("B1").reduceRegion(ee.Reducer.mean(), region, 10).getInfo()
    assert found["B1"] == pytest.approx((10205 * 0.5 + 10206) / 1.5)


def test_image_info_has_the_recorded_shape(engine):
    info = ee.Image("T/C/plain").getInfo()
    assert list(info) == ["type", "bands", "version", "id", "properties"]
    assert info["bands"][0] == {
        "id": "B1",
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "dimensions": [40, 30],
        "crs": "EPSG:32631",
        "crs_transform": [10, 0, 500000, 0, -10, 5000000],
    }


def test_composite_has_no_projection_of_its_own_documented(engine):
    band = ee.ImageCollection("T/C").mean().getInfo()["bands"][0]
    assert (band["crs"], band["crs_transform"], "dimensions" in band) == ("EPSG:4326", [1, 0, 0, 0, 1, 0], False)


def test_listing_pages_filters_and_views(engine):
    everything = ee.data.listAssets({"parent": "T/C"})["assets"]
    assert [a["id"] for a in everything] == ["T/C/holes", "T/C/plain"]
    assert everything[1]["bands"][0]["grid"]["affineTransform"] == {
        "scaleX": 10, "translateX": 500000, "scaleY": -10, "translateY": 5000000,
    }  # fmt: skip
    first = ee.data.listAssets({"parent": "T/C", "pageSize": 1, "view": "BASIC"})
    assert [sorted(a) for a in first["assets"]] == [["id", "name", "type"]]
    rest = ee.data.listAssets({"parent": "T/C", "pageSize": 1, "pageToken": first["nextPageToken"]})
    assert [a["id"] for a in rest["assets"]] == ["T/C/plain"]
    cloudy = ee.data.listImages({"parent": "T/C", "filter": "properties.cloud > 10"})["images"]
    assert [a["id"] for a in cloudy] == ["T/C/plain"]
    inside = {"startTime": "2020-09-13T00:00:00Z", "endTime": "2020-09-14T00:00:00Z"}
    region = {"type": "Point", "coordinates": [3.0005, 45.153]}
    assert len(ee.data.listImages({"parent": "T/C", **inside, "region": region})["images"]) == 1


def test_missing_asset_is_denied_as_recorded(engine):
    with pytest.raises(ee.EEException, match=r"Permission 'earthengine\.assets\.get' denied on resource"):
        ee.data.getAsset("T/NONE")
    with pytest.raises(
        ee.EEException, match=r"^Image\.load: Image asset 'T/NONE' not found \(does not exist or caller"
    ):
        ee.Image("T/NONE").getInfo()


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/projects/p/value:compute", 405),
        ("POST", "/v1/projects/p/algorithms", 405),
    ],
)
def test_unknown_paths_and_methods_are_errors_in_googles_form(engine, method, path, code):
    request = urllib.request.Request(engine.url + path, method=method, data=b"{}" if method == "POST" else None)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == code
    assert json.loads(caught.value.read())["error"]["code"] == code


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"x"', b"{}", b'{"expression": NaN}', b"\xff\xfe", b"[" * 200_000]
)
def test_malformed_bodies_are_400_with_a_sentence(engine, body):
    for path in ("/v1/projects/p/value:compute", "/v1/projects/p/image:computePixels"):
        status, answer = post(engine.url, path, body)
        assert status == 400
        assert len(answer["error"]["message"]) > 15


@pytest.mark.parametrize(
    "grid",
    [
        {"dimensions": {"width": 0, "height": 1}},
        {"dimensions": 5},
        {"crsCode": "nonsense"},
        {"affineTransform": {"scaleX": 0}},
        7,
    ],
)
def test_malformed_grids_are_400_with_a_sentence(engine, grid):
    expression = ee.serializer.encode(ee.Image("T/C/plain"), for_cloud_api=True)
    body = {"expression": expression, "fileFormat": "NPY", "grid": grid}
    status, answer = post(engine.url, "/v1/projects/p/image:computePixels", body)
    assert status == 400
    assert len(answer["error"]["message"]) > 15


def test_forty_requests_at_once(engine):
    def one(number):
        value = ee.Number(number).add(1).getInfo()
        pixels = npy(ee.Image("T/C/plain").add(number))["B1"]
        return value == number + 1 and (pixels == coded(0, range(2, 5), range(5, 9)) + number).all()

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        assert all(pool.map(one, range(80)))
    assert engine.max_in_flight > 1


def test_more_requests_than_allowed_get_429_recorded():
    with serving(max_concurrent=2, latency=0.3) as engine:
        body = {"expression": ee.serializer.encode(ee.Number(1), for_cloud_api=True)}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: post(engine.url, "/v1/projects/p/value:compute", body), range(8)))
    codes = [status for status, _ in found]
    assert codes.count(200) >= 2
    refused = next(answer for status, answer in found if status == 429)
    assert refused["error"]["message"].startswith("Too Many Requests: Request was rejected because the request rate")


def test_stats_tell_what_was_asked(engine):
    ee.Number(1).getInfo()
    ee.Number(1).add(1).getInfo()
    with urllib.request.urlopen(engine.url + "/_eelocal/stats") as answer:
        stats = json.loads(answer.read())
    assert stats["counts"]["value:compute"] == engine.counts["value:compute"] > 0
    assert stats["max_in_flight"] >= 1


def test_long_answers_are_compressed_for_those_who_accept_it(engine):
    request = urllib.request.Request(f"{engine.url}/v1/projects/p/algorithms", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(json.loads(gzip.decompress(answer.read()))["algorithms"]) == 991


@pytest.mark.skipif(not SHARED_REFERENCE.is_dir(), reason="the recorded requests are not at hand")
def test_every_recorded_request_of_the_client_is_answered():
    scene = {"bands": ("B2", "B3", "B4", "B8", "SCL", "QA60"), "size": (400, 400)}
    start = {"system:time_start": 1_673_000_000_000, "CLOUDY_PIXEL_PERCENTAGE": 5}
    place = {"transform": (10.0, 0.0, 656000.0, 0.0, -10.0, 4986000.0)}
    s2 = CodedCollection("COPERNICUS/S2_SR_HARMONIZED", [
        CodedImage("COPERNICUS/S2_SR_HARMONIZED/a", **scene, properties=start, **place)
    ])  # fmt: skip
    scores = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
    cs = CodedCollection(scores, [
        CodedImage(f"{scores}/a", bands=("cs", "cs_cdf"), dtype="float32", size=(400, 400), **place)
    ])  # fmt: skip
    world = {"crs": "EPSG:4326", "transform": (0.01, 0.0, -180.0, 0.0, -0.01, 90.0), "size": (36000, 18000)}
    dem = CodedImage("USGS/SRTMGL1_003", bands=("elevation",), dtype="int16", **world)
    recorded = json.loads((SHARED_REFERENCE / "recorded" / "client_requests.json").read_text())
    with serving(s2, cs, dem) as engine:
        for call in (entry for entry in recorded if "path" in entry):
            body = json.dumps(call["body"]).encode() if call["body"] else None
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(engine.url + call["path"], body, headers, method=call["method"])
            try:
                urllib.request.urlopen(request).close()
            except urllib.error.HTTPError as error:
                pytest.fail(f"{call['call']}: {error.read().decode()}")
