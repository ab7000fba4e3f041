"""Scenes with known pixels for other people's clients: Sentinel-2 with Cloud Score+, and Landsat 8, as GeoTIFFs.

What a client makes of them is compared with what numpy makes of the same files, read with rasterio.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import ee
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from test_eelocal_support import serving

S2 = "COPERNICUS/S2_SR_HARMONIZED"
CLOUD_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
L8 = "LANDSAT/LC08/C02/T1_L2"
RAMP = "PEERS/RAMP"  # 3 * column - 2 * row

S2_CRS, L8_CRS = "EPSG:32631", "EPSG:32634"
S2_SHAPE, L8_SHAPE = (60, 72), (28, 36)  # 10 m and 30 m pixels
S2_TRANSFORM = Affine(10, 0, 600000, 0, -10, 5600040)
L8_TRANSFORM = Affine(30, 0, 500685, 0, -30, 3999315)

# The last one is of the time in which QA60 was not filled, and has no Cloud Score+.
S2_STAMPS = ("20210601T105022", "20210606T105022", "20210611T105022", "20210616T105022", "20230701T105022")
S2_CLOUDY = (12.5, 60.0, 3.0, 40.0, 0.0)
L8_DATES = ("20210603", "20210619")
MASKED_COLUMNS = 24  # of the second Sentinel-2 scene, at 10 m

CATALOGUE = """
collections:
  - id: {s2}
    folder: s2
    scene: "(\\\\d{{8}}T\\\\d{{6}})_"
    index: "{{scene}}_{{scene}}_T31UES"
    bands: [B1, B2, B3, B4, B8, B11, SCL, QA60]
    table: {{file: images.json}}
    image_properties: {{MEAN_SOLAR_AZIMUTH_ANGLE: 180, CLOUDY_PIXEL_PERCENTAGE: "{{cloudy}}", MGRS_TILE: 31UES}}
  - id: {score}
    folder: score
    scene: "(\\\\d{{8}}T\\\\d{{6}})"
    index: "{{scene}}_{{scene}}_T31UES"
  - id: {l8}
    folder: l8
    scene: "(LC08_193030_\\\\d{{8}})_"
    bands: [SR_B2, SR_B3, SR_B4, SR_B5, SR_QA_AEROSOL, QA_PIXEL, QA_RADSAT]
images:
  - {{id: {ramp}, files: [ramp.tif]}}
"""


def index(scene):
    return f"{S2_STAMPS[scene]}_{S2_STAMPS[scene]}_T31UES"


def write(path, bands, crs, transform, nodata=None):
    path.parent.mkdir(exist_ok=True)
    arrays = list(bands.values())
    height, width = arrays[0].shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": len(arrays), "dtype": arrays[0].dtype}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as dataset:
        for i, (name, array) in enumerate(bands.items(), 1):
            dataset.write(array, i)
            dataset.set_band_description(i, name)


def write_scenes(root):
    """Writes all files and the catalogue below a folder."""
    rng = np.random.default_rng(2021)
    for scene in range(len(S2_STAMPS)):
        _sentinel2(root, scene, rng)
    for date in L8_DATES:
        _landsat(root / "l8", date, rng)
    row, col = np.indices(S2_SHAPE)
    write(root / "ramp.tif", {"B1": (3 * col - 2 * row).astype("float32")}, S2_CRS, S2_TRANSFORM)
    rows = [{"file": f"{s}_10m.tif", "cloudy": c} for s, c in zip(S2_STAMPS, S2_CLOUDY, strict=True)]
    (root / "s2" / "images.json").write_text(json.dumps(rows))
    (root / "eelocal.yaml").write_text(CATALOGUE.format(s2=S2, score=CLOUD_SCORE, l8=L8, ramp=RAMP))


def _sentinel2(root, scene, rng):
    stamp, (height, width) = S2_STAMPS[scene], S2_SHAPE

    def drawn(metres, low, high, dtype="uint16"):
        return rng.integers(low, high, (height * 10 // metres, width * 10 // metres)).astype(dtype)

    bands = {10: {n: drawn(10, 200, 4000) for n in ("B2", "B3", "B4", "B8")}}
    bands[20] = {"B11": drawn(20, 200, 4000), "SCL": rng.choice([4, 5, 6], (height // 2, width // 2)).astype("uint16")}
    bands[60] = {"B1": drawn(60, 200, 4000)}
    for metres, found in bands.items():
        if scene == 1:
            for array in found.values():
                array[:, : MASKED_COLUMNS * 10 // metres] = 0
        if scene == 2 and metres == 10:
            found["B4"][rng.random(S2_SHAPE) < 0.02] = 0
        write(root / "s2" / f"{stamp}_{metres}m.tif", found, S2_CRS, S2_TRANSFORM @ Affine.scale(metres / 10), nodata=0)
    quality = rng.choice([0, 1 << 10, 1 << 11], (height // 6, width // 6), p=[0.8, 0.12, 0.08]).astype("uint16")
    write(root / "s2" / f"{stamp}_qa.tif", {"QA60": quality}, S2_CRS, S2_TRANSFORM @ Affine.scale(6))
    if scene < 4:
        score = rng.random(S2_SHAPE, np.float32)
        if scene == 2:
            score[:9, 11:30] = np.nan
        # Squares of 120 m: the same at 60 m, however coarser levels are made.
        even = np.kron(rng.choice([0.2, 0.9], (height // 12, width // 12), p=[0.3, 0.7]), np.ones((12, 12)))
        even = even.astype("float32")
        write(root / "score" / f"{stamp}.tif", {"cs": score, "cs_cdf": even}, S2_CRS, S2_TRANSFORM, nodata=np.nan)


def _landsat(folder, date, rng):
    name = f"LC08_193030_{date}"
    bands = {f"SR_B{k}": rng.integers(7000, 44000, L8_SHAPE).astype("uint16") for k in (2, 3, 4, 5)}
    for array in bands.values():
        array[:3], array[:, 30:] = 0, 0
    marked = {bit: rng.random(L8_SHAPE) < 0.04 for bit in (1, 3, 8, 9, 11, 15)}
    quality = sum(hit.astype("uint16") << bit for bit, hit in marked.items())
    saturated = np.where(rng.random(L8_SHAPE) < 0.05, 8, 0).astype("uint16")
    write(folder / f"{name}_sr.tif", bands, L8_CRS, L8_TRANSFORM, nodata=0)
    write(folder / f"{name}_qa.tif", {"QA_PIXEL": quality, "QA_RADSAT": saturated}, L8_CRS, L8_TRANSFORM)
    aerosol = rng.choice([2, 66, 130, 194], L8_SHAPE).astype("uint8")
    write(folder / f"{name}_aerosol.tif", {"SR_QA_AEROSOL": aerosol}, L8_CRS, L8_TRANSFORM)


class Truth:
    """The files, read with rasterio: masked arrays by band, all in the finest pixels."""

    def __init__(self, root):
        self.root = Path(root)

    def s2(self, scene):
        bands = self._read(sorted((self.root / "s2").glob(f"{S2_STAMPS[scene]}_*.tif")), S2_SHAPE)
        return {**bands, **self._read(sorted((self.root / "score").glob(f"{S2_STAMPS[scene]}*.tif")), S2_SHAPE)}

    def l8(self, scene):
        return self._read(sorted((self.root / "l8").glob(f"*_{L8_DATES[scene]}_*.tif")), L8_SHAPE)

    def _read(self, paths, shape):
        found = {}
        for path in paths:
            with rasterio.open(path) as dataset:
                times = shape[0] // dataset.height
                for name, band in zip(dataset.descriptions, dataset.read(masked=True), strict=True):
                    values, masked = band.data, np.ma.getmaskarray(band)
                    found[name] = np.ma.masked_array(*(a.repeat(times, 0).repeat(times, 1) for a in (values, masked)))
        return found


@contextmanager
def peer_world(folder):
    """A server of the scenes, and the truth about them."""
    write_scenes(folder)
    with serving(data=[folder]) as engine:
        engine.truth = Truth(folder)
        yield engine


def without_catalogue(patch):
    """geedim describes bands by a public catalogue on the internet; here, by what it holds of the scenes."""
    stac = pytest.importorskip("geedim.stac")
    spectral = {"gsd": 10, "center_wavelength": 0.5, "gee:scale": 0.0001}
    bands = [{"name": name, **spectral} for name in ("B1", "B2", "B3", "B4", "B8", "B11")]
    known = {"summaries": {"eo:bands": bands, "gsd": [10]}, "links": []}
    patch.setattr(type(stac.STACClient()), "get", lambda self, name: known if str(name).startswith(S2) else None)


def s2_image(scene):
    return ee.Image(f"{S2}/{index(scene)}")


def distance_to(marked):
    """Pixels from every pixel to the nearest marked one, by trying all; infinite where none is marked."""
    rows, cols = np.nonzero(marked)
    if not len(rows):
        return np.full(marked.shape, np.inf)
    here = np.stack(np.indices(marked.shape), axis=-1).reshape(-1, 1, 2)
    squares = ((here - np.stack([rows, cols], axis=-1)) ** 2).sum(axis=-1)
    return np.sqrt(squares.min(axis=1)).reshape(marked.shape)


def read(image, *bands, crs=S2_CRS, transform=S2_TRANSFORM, shape=S2_SHAPE, dtype="int32"):
    """Masked arrays by band, through geedim's export; the type is one whose nodata is no value of a mask."""
    prepared = image.select(list(bands)).gd.prepareForExport(
        crs=crs, crs_transform=list(transform)[:6], shape=shape, dtype=dtype
    )
    found = prepared.gd.toNumPy(masked=True)
    return {name: found[:, :, i] for i, name in enumerate(bands)}


def assert_same(found, expected):
    """The same pixels are valid, and equal."""
    expected = np.ma.masked_array(expected)
    assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    assert np.array_equal(np.ma.filled(found, 0), expected.filled(0))


def filled(bands, prefix="B"):
    """Where all reflectances are valid."""
    return ~np.logical_or.reduce([np.ma.getmaskarray(band) for name, band in bands.items() if name.startswith(prefix)])


def region(left, top, right, bottom, transform=S2_TRANSFORM, crs=S2_CRS):
    """The rectangle of a window of pixels."""
    (west, north), (east, south) = transform @ (left, top), transform @ (right, bottom)
    return ee.Geometry.Rectangle([west, south, east, north], ee.Projection(crs), False)
