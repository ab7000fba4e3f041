"""Tiles as bytes: GDAL reads back what went in, whatever the numbers, their predictor and compression."""

import numpy as np
import pytest
import rasterio

from eeflow.cog import Spool, assemble, read_directories
from eeflow.tilebytes import COMPRESSIONS, FLOATING_POINT, HORIZONTAL, NO_PREDICTOR, mask_tiles, raster_tiles

TILE = 256
WHOLE = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float32", "float64"]
KINDS = [*((d, p) for d in WHOLE for p in (NO_PREDICTOR, HORIZONTAL)), *((d, FLOATING_POINT) for d in FLOATS)]


def random_bits(shape, dtype):
    """All bits at random, so that differences wrap around and floats are of every kind."""
    size = np.dtype(dtype).itemsize
    return np.random.default_rng(7).integers(0, 256, (*shape, size), dtype=np.uint8).view(dtype)[..., 0]


@pytest.fixture
def written(tmp_path):
    """A file of tiles as they are made here, described by an empty one of GDAL's."""

    def write(values, predictor, compress="deflate", valid=None, empty=0):
        count, height, width = values.shape
        profile = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width}
        layout = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "pixel", "sparse_ok": True}
        transform = rasterio.Affine(10, 0, 600000, 0, -10, 5700000)
        place = {"crs": "EPSG:32631", "transform": transform, "nodata": empty or None}
        with rasterio.open(
            tmp_path / "empty.tif", "w", **profile, **layout, **place, compress=compress, predictor=predictor
        ):
            pass
        with (tmp_path / "empty.tif").open("rb") as file:
            (raster,) = read_directories(file, tmp_path / "empty.tif")
        spool = Spool(tmp_path / "spool", (height, width), TILE)
        masks = mask_tiles(valid, (0, 0), TILE) if valid is not None else ()
        spool.add(raster_tiles(values, (0, 0), TILE, empty, predictor, COMPRESSIONS[compress]), masks)
        assemble(directories := spool.directories(raster, masked=valid is not None), tmp_path / "made.tif")
        return tmp_path / "made.tif", directories[0].tiles

    return write


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
@pytest.mark.parametrize(("dtype", "predictor"), KINDS)
def test_gdal_reads_every_bit(written, dtype, predictor, compress):
    values = random_bits((3, 300, 270), dtype)
    path, _ = written(values, predictor, compress)
    with rasterio.open(path) as raster:
        assert raster.read().tobytes() == values.tobytes()


def test_gdal_reads_masks_of_one_bit(written):
    valid = np.indices((300, 270)).sum(axis=0) % 7 > 2
    path, _ = written(np.ones((2, 300, 270), "uint16"), HORIZONTAL, valid=valid)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.dataset_mask() > 0, valid)


@pytest.mark.parametrize("empty", [0, 65535, np.nan])
def test_tiles_of_nothing_take_no_room(written, empty):
    values = np.full((2, 600, 600), empty, "float32")
    values[1, 300, 599] = 4.5
    path, tiles = written(values, FLOATING_POINT, empty=empty)
    assert [number for number, (_, size) in enumerate(tiles) if size] == [5]
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(), values)


def test_neighbours_that_differ_little_take_little_room(written):
    rows, cols = np.indices((256, 256))
    values = (1000 + rows * 3 + cols * 5)[None].astype("uint16")
    _, ((_, size),) = written(values, HORIZONTAL)
    assert size < 2000  # of 131,072 bytes
