"""Small scenes with known pixels for products: Sentinel-2 with Cloud Score+, and Landsat 8, as GeoTIFFs and as numpy.

Each band has holes of its own and valid zeros, so that what merges or masks one band and not another is seen.
"""

import shutil

import numpy as np
import rasterio
from affine import Affine

S2, L8 = "COPERNICUS/S2_SR_HARMONIZED", "LANDSAT/LC08/C02/T1_L2"
CRS = "EPSG:32631"
TRANSFORM = Affine(10, 0, 600_000, 0, -10, 5_600_040)
HEIGHT, WIDTH = SHAPE = (24, 30)
BBOX = [600_000, 5_599_800, 600_300, 5_600_040]
# The third has no Cloud Score+; the last is of the time in which QA60 is masked out.
STAMPS = ("20210601T105022", "20210606T105022", "20210617T105022", "20210703T105022", "20230701T105022")
UNSCORED = 2
LATE = "20210625T105022"
_NODATA = 65535

_CATALOGUE = f"""
collections:
  - id: {S2}
    folder: s2
    scene: "(\\\\d{{8}}T\\\\d{{6}})_"
    index: "{{scene}}_{{scene}}_T31UES"
    bands: [QA60, SCL, B2, B4, B8]
    image_properties: {{MGRS_TILE: 31UES}}
  - id: GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED
    folder: score
    scene: "(\\\\d{{8}}T\\\\d{{6}})"
    index: "{{scene}}_{{scene}}_T31UES"
  - id: {L8}
    folder: l8
    scene: "(LC08_193030_\\\\d{{8}})"
"""


def scene_id(stamp):
    """`system:index` of a Sentinel-2 scene."""
    return f"{stamp}_{stamp}_T31UES"


def write_scenes(root):
    """Writes all scenes below a folder, the late one into `late`; by stamp, the bands as masked arrays at 10 m."""
    rng = np.random.default_rng(5)
    (root / "eelocal.yaml").write_text(_CATALOGUE)
    truth = {stamp: _sentinel2(root, stamp, rng) for stamp in STAMPS}
    truth[LATE] = _sentinel2(root / "late", LATE, rng)
    truth["landsat"] = _landsat(root / "l8" / "LC08_193030_20210603.tif", rng)
    return truth


def add_late_scene(root):
    """Puts the late scene among the others."""
    for path in sorted((root / "late").rglob("*.tif")):
        shutil.move(path, root / path.relative_to(root / "late"))


def _sentinel2(root, stamp, rng):
    height, width = SHAPE
    bands = {}
    for name in ("B2", "B4", "B8"):
        values = rng.integers(1, 9000, SHAPE).astype("uint16")
        values[rng.random(SHAPE) < 0.05] = 0
        bands[name] = np.ma.masked_array(values, rng.random(SHAPE) < 0.2)
    if stamp == STAMPS[3]:
        for band in bands.values():
            band.mask[:, : width // 2] = True
    classes = rng.choice([3, 4, 5, 8, 9, 10, 11], (height // 2, width // 2)).astype("uint8")
    flags = rng.choice([0, 1 << 10, 1 << 11, 1 << 3], (height // 6, width // 6)).astype("uint16")
    found = {
        "SCL": np.ma.masked_array(classes, rng.random(classes.shape) < 0.05),
        "QA60": np.ma.masked_array(flags, np.zeros(flags.shape, bool)),
    }
    _write(root / "s2" / f"{stamp}_10m.tif", bands, nodata=_NODATA)
    _write(root / "s2" / f"{stamp}_20m.tif", {"SCL": found["SCL"]}, scale=2, nodata=255)
    _write(root / "s2" / f"{stamp}_60m.tif", {"QA60": found["QA60"]}, scale=6)
    if stamp != STAMPS[UNSCORED]:
        scores = {
            name: np.ma.masked_array(rng.random(SHAPE, np.float32), rng.random(SHAPE) < 0.05)
            for name in ("cs", "cs_cdf")
        }
        _write(root / "score" / f"{stamp}.tif", scores, nodata=np.nan)
        bands |= scores
    times = {"SCL": 2, "QA60": 6}
    return bands | {name: _finer(band, times[name]) for name, band in found.items()}


def _landsat(path, rng):
    values = rng.integers(0, 44000, SHAPE).astype("uint16")
    bands = {
        "SR_B4": np.ma.masked_array(values, rng.random(SHAPE) < 0.1),
        "QA_PIXEL": np.ma.masked_array(rng.integers(0, 1 << 8, SHAPE).astype("uint16"), np.zeros(SHAPE, bool)),
    }
    _write(path, bands, nodata=_NODATA)
    return bands


def _write(path, bands, scale=1, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    first = next(iter(bands.values()))
    profile = {"driver": "GTiff", "height": first.shape[0], "width": first.shape[1], "dtype": first.dtype}
    transform = TRANSFORM @ Affine.scale(scale)
    with rasterio.open(path, "w", **profile, count=len(bands), crs=CRS, transform=transform, nodata=nodata) as raster:
        for number, (name, band) in enumerate(bands.items(), 1):
            raster.write(band.filled(nodata) if nodata is not None else band.data, number)
            raster.set_band_description(number, name)


def _finer(band, times):
    values, mask = (array.repeat(times, 0).repeat(times, 1) for array in (band.data, np.ma.getmaskarray(band)))
    return np.ma.masked_array(values, mask)
