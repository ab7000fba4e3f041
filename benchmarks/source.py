"""What the local Earth Engine serves in a benchmark, and the truth that outputs are compared with.

Run as a process of its own (`python source.py make FOLDER SIDE SCENES`), so that what measures stays small: a child's
peak memory starts at its parent's.
"""

import json
import sys
from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine
from rasterio.windows import Window

BANDS = ("B2", "B3", "B4", "B8")
CRS = "EPSG:32631"
ORIGIN = (499980.0, 5700000.0)
PIXEL = 10.0
FARM_SIDE = 256
LARGE, FARM, MANY = "BENCH/LARGE", "BENCH/FARM", "BENCH/MANY"
MANY_SIDE, MANY_SCENES = 64, 200
LARGE_SCENE = "20240601T103000"


def make(folder, side, scenes):
    """One large scene, and two series of small ones: four bands of uint16, some pixels masked, quick to read."""
    folder = Path(folder)
    _write(folder / "large" / f"{LARGE_SCENE}.tif", side, 0)
    for name, count, size in (("farm", scenes, FARM_SIDE), ("many", MANY_SCENES, MANY_SIDE)):
        for number in range(count):
            month, day = 1 + number // 25, 1 + number % 25
            _write(folder / name / f"2024{month:02}{day:02}T103000.tif", size, number + 1)
    folders = {LARGE: "large", FARM: "farm", MANY: "many"}
    catalogue = {"collections": [{"id": asset_id, "folder": name} for asset_id, name in folders.items()]}
    (folder / "eelocal.yaml").write_text(yaml.safe_dump(catalogue))


def _write(path, side, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    profile = {"driver": "GTiff", "dtype": "uint16", "nodata": 0, "count": len(BANDS), "height": side, "width": side}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band", "bigtiff": "if_safer"}
    transform = Affine(PIXEL, 0, ORIGIN[0], 0, -PIXEL, ORIGIN[1])
    with rasterio.open(path, "w", crs=CRS, transform=transform, **profile, **layout) as raster:
        raster.descriptions = BANDS
        for start in range(0, side, 256):
            rows = np.arange(start, min(start + 256, side))[:, None]
            cols = np.arange(side)[None]
            masked = (rows // 97 + cols // 89) % 31 == 0
            smooth = 3000 + 1500 * np.sin(rows / 311) * np.cos(cols / 277)
            for number in range(1, len(BANDS) + 1):
                # As restless as reflectances are: some seven bits of noise on a smooth field.
                values = smooth + number * 100 + random.integers(0, 128, smooth.shape)
                values = np.where(masked, 0, values).astype(np.uint16)
                raster.write(values, number, window=Window(0, start, side, len(rows)))


def box(col, row, width, height):
    """Bounds of a window: west, south, east, north."""
    west, north = ORIGIN[0] + col * PIXEL, ORIGIN[1] - row * PIXEL
    return [west, north - height * PIXEL, west + width * PIXEL, north]


def check(task):
    """Raises AssertionError where a file is not the truth, pixel by pixel; a masked pixel is 0 in both.

    Args:
        task: `files`, pairs of an output and its source; `window`, (col, row, width, height) of the source; `bands`.
    """
    col, row, width, height = task["window"]
    for made, source in task["files"]:
        with rasterio.open(made) as found, rasterio.open(source) as truth:
            corner = truth.transform @ (col, row)
            offset = ~found.transform @ corner
            left, top = (round(value) for value in offset)
            assert np.allclose(offset, (left, top), atol=1e-6), f"{made} lies {offset} pixels beside its source"
            assert left >= 0, made
            assert top >= 0, made
            for index in range(1, task["bands"] + 1):
                for start in range(0, height, 1024):
                    lines = min(1024, height - start)
                    got = found.read(index, window=Window(left, top + start, width, lines), masked=True)
                    wanted = truth.read(index, window=Window(col, row + start, width, lines))
                    assert got.shape == wanted.shape, f"{made} has {got.shape} pixels where {wanted.shape} are due"
                    wrong = np.nan_to_num(np.ma.filled(got, 0)) != wanted
                    assert not wrong.any(), f"{made}, band {index}: {wrong.sum()} pixels are not the source's"


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        check(json.loads(sys.argv[2]))
