"""geedim's own cloud masks on eelocal: Cloud Score+, QA60 and QA_PIXEL; every pixel as numpy finds it in the files.

How a mask is made is geedim's `mask.py`; what the bits mean, the Earth Engine catalogue's pages of the collections.
"""

import ee
import numpy as np
import pytest
from peer_scenes import (
    L8,
    L8_CRS,
    L8_DATES,
    L8_SHAPE,
    L8_TRANSFORM,
    S2,
    S2_SHAPE,
    S2_TRANSFORM,
    assert_same,
    distance_to,
    filled,
    read,
    region,
    s2_image,
)

pytest.importorskip("geedim")


def read_l8(image, *bands):
    return read(image, *bands, crs=L8_CRS, transform=L8_TRANSFORM, shape=L8_SHAPE)


@pytest.mark.parametrize("scene", range(3))
def test_cloud_score_masks_a_scene_documented(truth, scene):
    bands = truth.s2(scene)
    masked = s2_image(scene).gd.addMaskBands(score=0.4).gd.maskClouds()
    fill = filled(bands)
    cloudless = np.ma.masked_array((bands["cs"].data > np.float32(0.4)) & fill, bands["cs"].mask)
    found = read(masked, "FILL_MASK", "CLOUDLESS_MASK", "B4", "B11")
    for name in ("B4", "B11"):
        hidden = bands[name].mask | ~cloudless.filled(False)
        assert 500 < hidden.sum() < hidden.size - 500
        assert_same(found[name], np.ma.masked_array(bands[name].data, hidden))
    added = read(s2_image(scene).gd.addMaskBands(score=0.4), "FILL_MASK", "CLOUDLESS_MASK")
    assert_same(added["FILL_MASK"], fill)
    assert_same(added["CLOUDLESS_MASK"], cloudless)


def test_distance_to_clouds_in_metres_documented(truth):
    bands = truth.s2(0)
    image = s2_image(0).gd.addMaskBands(cs_band="cs_cdf", max_cloud_dist=200)
    cloudy = (bands["cs_cdf"].data <= 0.6)[::6, ::6]
    assert 10 < cloudy.sum() < cloudy.size
    expected = np.minimum(distance_to(cloudy) * 60, 200).astype(int)
    found = read(image, "CLOUD_DIST", transform=S2_TRANSFORM @ S2_TRANSFORM.scale(6), shape=cloudy.shape)
    assert_same(found["CLOUD_DIST"], expected)
    assert_same(read(image, "CLOUD_DIST")["CLOUD_DIST"], np.kron(expected, np.ones((6, 6), int)))


def test_a_scene_without_cloud_score_has_no_cloudless_pixel_documented(truth):
    image = s2_image(4).gd.addMaskBands()
    found = read(image, "FILL_MASK", "CLOUDLESS_MASK")
    assert_same(found["FILL_MASK"], np.ones(S2_SHAPE))
    assert found["CLOUDLESS_MASK"].mask.all()
    assert read(image.gd.maskClouds(), "B4")["B4"].mask.all()


def shifted(marked, dy, dx, outside):
    rows, cols = marked.shape
    padded = np.pad(marked, ((abs(dy), abs(dy)), (abs(dx), abs(dx))), constant_values=outside)
    return padded[abs(dy) + dy : abs(dy) + dy + rows, abs(dx) + dx : abs(dx) + dx + cols]


def disc(radius):
    reach = range(-radius, radius + 1)
    return [(dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= radius * radius]


def opened_and_grown(marked):
    """Small spots (20 m) taken away, and the rest grown by 50 m; pixels of 10 m.

    Both take the valid pixels around, and so go on a little beyond the image, as they do where it is masked: assumed.
    """
    valid, margin = np.pad(np.ones(marked.shape, bool), 7), (slice(7, -7), slice(7, -7))
    wide = np.pad(marked, 7)
    reached = np.logical_or.reduce([shifted(valid, dy, dx, False) for dy, dx in disc(2)])
    small = np.logical_and.reduce([shifted(wide | ~valid, dy, dx, True) for dy, dx in disc(2)]) & reached
    return np.logical_or.reduce([shifted(small, dy, dx, False) for dy, dx in disc(5)])[margin]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("cirrus", [True, False])
def test_qa60_clouds_documented(truth, cirrus):
    bands = truth.s2(0)
    image = s2_image(0).gd.addMaskBands(mask_method="qa", mask_cirrus=cirrus, mask_shadows=False)
    cloudy = (bands["QA60"].data & (3 << 10 if cirrus else 1 << 10)) != 0
    found = read(image, "CLOUD_MASK", "CLOUDLESS_MASK")
    assert_same(found["CLOUD_MASK"], cloudy)
    assert_same(found["CLOUDLESS_MASK"], ~opened_and_grown(cloudy))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_shadows_of_qa60_clouds_fall_away_from_the_sun_documented(truth):
    # The sun is in the south: a dark pixel is in shadow if a cloud is at most 240 m south of it.
    # https://developers.google.com/earth-engine/tutorials/community/sentinel-2-s2cloudless
    bands = truth.s2(0)
    image = s2_image(0).gd.addMaskBands(mask_method="qa", shadow_dist=240, dark=0.2)
    cloudy = (bands["QA60"].data != 0)[::6, ::6]
    north = np.logical_or.reduce([shifted(cloudy, south, 0, False) for south in range(5)])
    dark = (bands["B8"].data < 2000) & (bands["SCL"].data != 6)
    shadow = np.kron(north, np.ones((6, 6), bool)) & dark
    assert 200 < shadow.sum() < (np.kron(north, np.ones((6, 6), bool))).sum()
    found = read(image, "SHADOW_MASK", "CLOUDLESS_MASK")
    assert_same(found["SHADOW_MASK"], shadow)
    assert_same(found["CLOUDLESS_MASK"], ~opened_and_grown(np.kron(cloudy, np.ones((6, 6), bool)) | shadow))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_qa60_is_not_trusted_where_it_was_not_filled_documented(truth):
    image = s2_image(4).gd.addMaskBands(mask_method="qa")
    assert read(image, "CLOUDLESS_MASK")["CLOUDLESS_MASK"].mask.all()
    assert read(image.gd.maskClouds(), "B4")["B4"].mask.all()


OPTIONS = ({}, {"mask_cirrus": False, "mask_shadows": False}, {"mask_saturation": True, "mask_nonphysical": True,
           "mask_aerosols": True})  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=["clouds", "plain", "all"])
def test_qa_pixel_masks_a_landsat_scene_documented(truth, options):
    bands = truth.l8(0)
    bits = 1 << 1 | 1 << 9
    bits |= 1 << 15 if options.get("mask_cirrus", True) else 0
    bits |= 1 << 11 if options.get("mask_shadows", True) else 0
    hidden = (bands["QA_PIXEL"].data & bits) != 0
    fill = filled(bands, "SR_B")
    saturated = bands["QA_RADSAT"].data != 0
    reflectance = [bands[name] for name in ("SR_B2", "SR_B3", "SR_B4", "SR_B5")]
    least, most = np.min(reflectance, axis=0), np.max(reflectance, axis=0)
    nonphysical = (least < 0.2 / 0.0000275) | (most > 1.2 / 0.0000275)
    hazy = (bands["SR_QA_AEROSOL"].data >> 6) == 3
    clear = ~hidden & fill
    if "mask_saturation" in options:
        clear &= ~saturated
    near = clear
    if "mask_saturation" in options:
        clear = np.ma.masked_array(clear & ~nonphysical & ~hazy, ~fill)
    image = ee.Image(f"{L8}/LC08_193030_{L8_DATES[0]}").gd.addMaskBands(max_cloud_dist=150, **options)
    found = read_l8(image, "FILL_MASK", "CLOUDLESS_MASK", "CLOUD_DIST")
    assert_same(found["FILL_MASK"], fill)
    assert_same(found["CLOUDLESS_MASK"], clear)
    assert_same(found["CLOUD_DIST"], np.minimum(distance_to(~near) * 30, 150).astype(int))
    clear = np.ma.masked_array(clear).filled(False)
    assert 300 < clear.sum() < 700
    assert_same(read_l8(image.gd.maskClouds(), "SR_B4")["SR_B4"], np.ma.masked_array(bands["SR_B4"].data, ~clear))


def test_portions_of_a_region_documented(truth):
    found = ee.ImageCollection(S2).gd.filter(
        "2021-06-01", "2022-01-01", region=region(12, 6, 60, 54), fill_portion=0, score=0.4
    )
    part = (slice(6, 54), slice(12, 60))
    fills, portions = (found.aggregate_array(f"{name}_PORTION").getInfo() for name in ("FILL", "CLOUDLESS"))
    assert len(fills) == 4
    for scene, (fill, cloudless) in enumerate(zip(fills, portions, strict=True)):
        bands = truth.s2(scene)
        valid = filled(bands)[part]
        clear = valid & (bands["cs"].filled(0)[part] > np.float32(0.4))
        assert fill == pytest.approx(100 * valid.mean(), rel=1e-9)
        assert cloudless == pytest.approx(100 * clear.sum() / valid.sum(), rel=1e-9)
        assert scene != 1 or fill == pytest.approx(75)


def test_portions_of_a_region_that_the_image_covers_in_part_documented(truth):
    bands = truth.l8(1)
    west = region(-12, 4, 12, 20, L8_TRANSFORM, L8_CRS)
    image = ee.ImageCollection(L8).filterDate("2021-06-10", "2021-07-01")
    found = image.gd.filter(region=west, fill_portion=1).first().toDictionary(["FILL_PORTION", "CLOUDLESS_PORTION"])
    hidden = (bands["QA_PIXEL"].data & (1 << 1 | 1 << 9 | 1 << 11 | 1 << 15)) != 0
    cloudless = 100 * (~hidden[4:20, :12]).mean()
    assert found.getInfo() == pytest.approx({"FILL_PORTION": 50, "CLOUDLESS_PORTION": cloudless})
