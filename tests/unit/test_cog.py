"""Cloud-optimised files of tiles that GDAL compressed: read back by rasterio, looked over by rio-cogeo, and by hand."""

import hashlib
import struct

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window
from rio_cogeo import cog_validate

from eeflow import cog
from eeflow.cog import OVERVIEW, Spool, assemble
from eeflow.cog import read_directories as read
from eeflow.tilebytes import HORIZONTAL, deflated, mask_tiles, raster_tiles

TILE = 256
COLOURS = {value: (value, 255 - value, 7, 255) for value in range(256)}


@pytest.fixture(autouse=True)
def inside():
    """Masks go into the file, as products have them."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"):
        yield


def write(path, values, valid=None, overviews=(), **changes):
    """A tiled GeoTIFF as GDAL writes it."""
    count, height, width = values.shape
    profile = {
        "driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width, "crs": "EPSG:32631",
        "transform": rasterio.Affine(10, 0, 600000, 0, -10, 5700000), "tiled": True, "blockxsize": TILE,
        "blockysize": TILE, "interleave": "pixel", "compress": "deflate", "sparse_ok": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile | changes) as raster:
        raster.update_tags(NOTE="a tag of GDAL's own")
        raster.descriptions = [f"band {number}" for number in range(count)]
        if changes.get("photometric") == "palette":
            raster.write_colormap(1, COLOURS)
        raster.write(values)
        if valid is not None:
            raster.write_mask(valid)
    if overviews:
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews(overviews, Resampling.nearest)
    return path


def levels(path):
    """Pixels and masks of the raster and of each of its overviews."""
    with rasterio.open(path) as raster:
        count = len(raster.overviews(1))
    found = []
    for level in (None, *range(count)):
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as raster:
            found.append((raster.read(), raster.read_masks(), raster.nodata))
    return found


def read_directories(path):
    with path.open("rb") as file:
        return read(file, path)


def noise(shape, dtype="uint16"):
    return np.random.default_rng(4).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("values", "masked", "changes"),
    [
        (noise((4, 700, 600)), True, {"nodata": 65535, "predictor": 2}),
        (noise((40, 300, 260), "int8"), False, {"compress": "zstd"}),
        (noise((1, 257, 1030), "uint8"), True, {"photometric": "palette"}),
        (noise((3, 600, 260), "float32"), False, {"nodata": np.nan, "predictor": 3}),
    ],
)
def test_nothing_is_lost_whichever_kind_of_tiff_comes_and_goes(tmp_path, monkeypatch, values, masked, changes, big):
    monkeypatch.setattr(cog, "_CLASSIC_BYTES", 0 if big else 2**32)
    valid = np.indices(values.shape[1:]).sum(axis=0) % 5 > 0 if masked else None
    made = write(tmp_path / "a.tif", values, valid, [2, 4], bigtiff="no" if big else "yes", **changes)
    path = tmp_path / "b.tif"
    assemble(read_directories(made), path)
    assert cog_validate(path, strict=True) == (True, [], [])
    assert path.read_bytes()[2] == (43 if big else 42)
    for (pixels, masks, nodata), (expected, expected_masks, expected_nodata) in zip(
        levels(path), levels(made), strict=True
    ):
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(masks, expected_masks)
        assert str(nodata) == str(expected_nodata)
    with rasterio.open(path) as raster, rasterio.open(made) as expected:
        assert raster.tags() == expected.tags()
        assert raster.descriptions == expected.descriptions
        assert str(raster.profile) == str(expected.profile)  # NaN is not equal to itself
        assert raster.colorinterp == expected.colorinterp
        if "photometric" in changes:
            assert raster.colormap(1) == COLOURS


def test_each_tile_lies_between_its_size_and_its_end_and_before_its_mask(tmp_path):
    path = tmp_path / "b.tif"
    assemble(read_directories(write(tmp_path / "a.tif", noise((2, 600, 300)), np.eye(600, 300, dtype=bool), [2])), path)
    content, (image, mask, *_) = path.read_bytes(), read_directories(path)
    for (offset, size), (mask_offset, mask_size) in zip(image.tiles, mask.tiles, strict=True):
        assert content[offset - 4 : offset] == struct.pack("<I", size)
        assert content[offset + size : offset + size + 4] == content[offset + size - 4 : offset + size]
        assert mask_offset == offset + size + 8
        assert content[mask_offset - 4 : mask_offset] == struct.pack("<I", mask_size)


def test_tiles_taken_in_in_any_order_are_in_their_places(tmp_path):
    values, valid = noise((2, 700, 900)), np.indices((700, 900)).sum(axis=0) % 3 > 0
    empty = write(tmp_path / "empty.tif", values[:, :1, :1], width=900, height=700, predictor=2)
    full, half = Spool(tmp_path / "full", (700, 900), TILE), Spool(tmp_path / "half", (350, 450), TILE)
    quarter = Spool(tmp_path / "quarter", (175, 225), TILE)
    for spool, step in [(full, 1), (half, 2), (quarter, 4)]:
        for row, col in [(512, 512), (0, 512), (512, 0), (0, 0)]:
            place = np.s_[row : row + 512, col : col + 512]
            part, inside = values[:, ::step, ::step][:, *place], valid[::step, ::step][place]
            tiles = raster_tiles(part, (row, col), TILE, 0, HORIZONTAL, deflated)
            spool.add(tiles, mask_tiles(inside, (row, col), TILE))
    (raster,) = read_directories(empty)
    path = tmp_path / "b.tif"
    seen_from_afar = [each for spool in (half, quarter) for each in spool.directories(raster, OVERVIEW, masked=True)]
    parts = [*seen_from_afar, *full.directories(raster, masked=True)]
    assert assemble(parts, path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert cog_validate(path, strict=True) == (True, [], [])
    (pixels, masks, _), (halves, half_masks, _), (quarters, quarter_masks, _) = levels(path)
    np.testing.assert_array_equal(pixels, values)
    np.testing.assert_array_equal(masks[1] > 0, valid)
    np.testing.assert_array_equal(halves, values[:, ::2, ::2])
    np.testing.assert_array_equal(half_masks[0] > 0, valid[::2, ::2])
    assert quarters.shape == (2, 175, 225)
    np.testing.assert_array_equal(quarters, values[:, ::4, ::4])
    np.testing.assert_array_equal(quarter_masks[0] > 0, valid[::4, ::4])


def test_a_tile_that_was_never_written_stays_so(tmp_path):
    values = np.zeros((1, 600, 600), "uint8")
    values[0, 300, 300] = 9
    made = tmp_path / "a.tif"
    write(made, values[:, :256, :256], width=600, height=600)
    with rasterio.open(made, "r+") as raster:
        raster.write(values[:, 256:512, 256:512], window=Window(256, 256, 256, 256))
    path = tmp_path / "b.tif"
    assemble(read_directories(made), path)
    (directory,) = read_directories(path)
    assert sum(size > 0 for _, size in directory.tiles) < 9
    assert all((offset > 0) == (size > 0) for offset, size in directory.tiles)
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(raster.read(), values)
