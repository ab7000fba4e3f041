"""geedim's composites on eelocal, of scenes masked by geedim, equal to what numpy makes of the files.

The rules, that of equal pixels among them, are geedim's (`enums.CompositeMethod`, `collection.composite`).
"""

import ee
import numpy as np
import pytest
from peer_scenes import (
    CLOUD_SCORE,
    L8,
    L8_CRS,
    L8_SHAPE,
    L8_TRANSFORM,
    S2,
    S2_CRS,
    S2_TRANSFORM,
    assert_same,
    distance_to,
    filled,
    read,
    region,
)

pytest.importorskip("geedim")
SPECTRAL = ("B1", "B2", "B3", "B4", "B8", "B11")


@pytest.fixture(scope="module")
def clear(truth):
    """Four scenes by band, shape (scene, row, column); masked where a reflectance or its Cloud Score+ is bad."""
    scenes = [truth.s2(scene) for scene in range(4)]
    hidden = [~(filled(bands) & (bands["cs"].filled(0) > np.float32(0.4))) for bands in scenes]
    return {
        name: np.ma.stack(
            [np.ma.masked_array(s[name].data, s[name].mask | h) for s, h in zip(scenes, hidden, strict=True)]
        )
        for name in (*SPECTRAL, "SCL")
    }


def scenes():
    return ee.ImageCollection(S2).filterDate("2021-06-01", "2021-07-01")


def chosen(stack, order):
    """Each pixel of the first scene in an order that is valid there."""
    result = stack[order[0]].copy()
    for scene in order[1:]:
        result = np.ma.where(result.mask, stack[scene], result)
    return result


def by_rank(stack, rank):
    """Each pixel of the scene of the greatest rank there, the first of equals."""
    best = np.where(stack.mask, -np.inf, rank).argmax(axis=0)
    return np.ma.masked_array(np.take_along_axis(stack.data, best[None], 0)[0], stack.mask.all(axis=0))


def test_mosaic_takes_the_latest_or_the_nearest_scene_documented(clear):
    latest = scenes().gd.composite("mosaic", score=0.4)
    nearest = scenes().gd.composite("mosaic", date="2021-06-07", score=0.4)
    for composite, order in ((latest, [3, 2, 1, 0]), (nearest, [1, 2, 0, 3])):
        found = read(composite, "B4", "B11")
        for name in found:
            assert_same(found[name], chosen(clear[name], order))


def test_mosaic_by_the_cloudless_portion_of_a_region_documented(truth, clear):
    area, part = region(30, 6, 60, 18), (slice(6, 18), slice(30, 60))
    valid = np.stack([filled(truth.s2(scene))[part] for scene in range(4)])
    cloudless = (~clear["B2"].mask[:, *part]).sum(axis=(1, 2)) / valid.sum(axis=(1, 2))
    order = np.argsort(cloudless)[::-1]
    assert order[0] != 3
    found = read(scenes().gd.composite("mosaic", region=area, score=0.4), "B4")
    assert_same(found["B4"], chosen(clear["B4"], list(order)))


def test_median_and_mean_leave_clouds_out_documented(clear):
    for method, merge in (("median", np.ma.median), ("mean", np.ma.mean)):
        found = read(scenes().gd.composite(method, score=0.4), "B4", "B11", dtype="float64")
        for name in found:
            assert 0 < found[name].mask.sum() < 2000
            assert_same(found[name], merge(clear[name], axis=0))


def test_mode_of_classes_documented(clear):
    classes = clear["SCL"]
    counts = np.stack([(classes == value).filled(False).sum(axis=0) for value in (4, 5, 6)])
    single = (counts == counts.max(axis=0)).sum(axis=0) == 1
    assert single.sum() > 2000
    found = read(scenes().gd.composite("mode", score=0.4), "SCL")["SCL"]
    assert np.array_equal(found[single], (counts.argmax(axis=0) + 4)[single])


def test_quality_mosaic_takes_the_pixel_farthest_from_clouds_documented(truth):
    layers, ranks = [], []
    for scene in range(4):
        bands = truth.s2(scene)
        cloudless = (bands["cs_cdf"].data > 0.6) & filled(bands)
        at_60m = (bands["cs_cdf"].data > 0.6)[::6, ::6] & ~bands["B1"].mask[::6, ::6]
        if scene == 2:
            at_60m = cloudless[3::6, 3::6]  # single pixels of B4 have no data: at 60 m, those in the middle
        distance = np.minimum(distance_to(~at_60m) * 60, 5000).astype(int)
        ranks.append(np.kron(distance, np.ones((6, 6), int)))
        layers.append(np.ma.masked_array(bands["B8"].data, ~cloudless | bands["B8"].mask))
    expected = by_rank(np.ma.stack(layers), np.stack(ranks))
    composite = scenes().gd.composite(cs_band="cs_cdf")  # the method is q-mosaic where clouds can be masked
    assert composite.get("system:index").getInfo() == "Q-MOSAIC-COMP"
    assert_same(read(composite, "B8")["B8"], expected)


def test_quality_mosaic_of_landsat_documented(truth):
    layers, ranks = [], []
    for scene in range(2):
        bands = truth.l8(scene)
        cloudless = ((bands["QA_PIXEL"].data & (1 << 1 | 1 << 9 | 1 << 11 | 1 << 15)) == 0) & filled(bands, "SR_B")
        ranks.append(np.minimum(distance_to(~cloudless) * 30, 5000).astype(int))
        layers.append(np.ma.masked_array(bands["SR_B4"].data, ~cloudless))
    composite = ee.ImageCollection(L8).gd.composite("q-mosaic")
    found = read(composite, "SR_B4", "CLOUD_DIST", crs=L8_CRS, transform=L8_TRANSFORM, shape=L8_SHAPE)
    assert_same(found["SR_B4"], by_rank(np.ma.stack(layers), np.stack(ranks)))
    assert 0 < found["SR_B4"].mask.sum() < 400


def test_medoid_is_the_pixel_nearest_to_all_others_documented(clear):
    stack = np.ma.stack([clear[name] for name in SPECTRAL])
    values, valid = stack.data.astype(float), ~stack.mask.any(axis=0)
    apart = np.sqrt(((values[:, :, None] - values[:, None]) ** 2).sum(axis=0))
    apart[~(valid[:, None] & valid[None])] = 0
    found = read(scenes().gd.composite("medoid", score=0.4), "B4", "B8", "B11")
    for name in found:
        assert_same(found[name], by_rank(clear[name], -apart.sum(axis=1)))


def test_images_are_resampled_before_they_are_merged_documented(truth):
    # Half a pixel off, a bilinear pixel is the mean of four.
    collection = ee.ImageCollection(CLOUD_SCORE).filterDate("2021-06-01", "2021-06-08").select("cs")
    composite = collection.gd.composite("median", resampling="bilinear")
    inner = S2_TRANSFORM @ S2_TRANSFORM.translation(3.5, 2.5)
    found = read(composite, "cs", transform=inner, shape=(20, 30), dtype="float64")["cs"]
    corners = [(slice(2 + dy, 22 + dy), slice(3 + dx, 33 + dx)) for dy in (0, 1) for dx in (0, 1)]
    means = [np.mean([truth.s2(scene)["cs"].data[corner] for corner in corners], axis=0) for scene in (0, 1)]
    assert np.allclose(found, np.median(means, axis=0), rtol=1e-6)


def test_a_composite_says_what_it_is_and_has_no_grid_of_its_own_documented(truth):
    made = scenes().gd.composite("median", mask=False)
    assert made.gd.id == f"{S2}/MEDIAN-COMP"
    assert made.gd.index == "MEDIAN-COMP"
    assert made.gd.properties["system:time_start"] == 1622544622000
    assert made.gd.properties["system:time_end"] == 1622544622000 + 15 * 86400000
    assert (made.gd.crs, made.gd.shape, made.gd.bounded) == ("EPSG:4326", None, False)
    with pytest.raises(ValueError, match="fixed projection"):
        made.gd.prepareForExport()
    prepared = made.gd.prepareForExport(crs=S2_CRS, region=region(12, 6, 60, 54), scale=10)
    assert prepared.gd.shape == (48, 48)
    assert prepared.gd.transform == (10, 0, 600120, 0, -10, 5599980)


def test_a_collection_of_chosen_images_keeps_its_cloud_masks_documented(clear):
    identifiers = scenes().aggregate_array("system:id").getInfo()
    chosen_ones = ee.ImageCollection.gd.fromImages([identifiers[3], identifiers[0]])
    assert chosen_ones.gd.cloudSupport
    found = read(chosen_ones.gd.composite("mosaic", score=0.4), "B4")["B4"]
    assert_same(found, chosen(clear["B4"], [3, 0]))
    with pytest.raises(ValueError, match="spectrally compatible"):
        ee.ImageCollection.gd.fromImages([identifiers[0], ee.ImageCollection(L8).first()])
