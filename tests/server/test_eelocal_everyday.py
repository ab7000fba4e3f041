"""Reducers, kernels, segments, tables and filters of everyday, through the real client; values by hand or by numpy.

*documented*: by the descriptions in the client's algorithms.json, or the page named. *assumed*: what they leave open.
"""

import math

import ee
import numpy as np
import pytest
from test_eelocal_support import CodedCollection, CodedImage, serving

CRS = "EPSG:32631"
GRID = {
    "dimensions": {"width": 6, "height": 4},
    "affineTransform": {"scaleX": 10, "translateX": 500000, "scaleY": -10, "translateY": 5000000},
    "crsCode": CRS,
}
ISLANDS = np.array([[1, 1, 0, 2, 2, 2], [0, 1, 0, 0, 2, 0], [3, 0, 1, 1, 0, 0], [3, 3, 0, 1, 0, 5]])


@pytest.fixture(scope="module")
def engine():
    def inside(row, col):
        return (row >= 0) & (col >= 0) & (row < 4) & (col < 6)

    islands = CodedImage(
        "T/ISLANDS", bands=("v", "w"), size=(6, 4), dtype="int16",
        function=lambda k, row, col: np.where(
            inside(row, col), ISLANDS[np.clip(row, 0, 3), np.clip(col, 0, 5)] if k == 0 else 10 * row + col, 0
        ),
    )  # fmt: skip
    plain = CodedImage(
        "T/PLAIN", bands=("a", "b", "c"), size=(60, 40), dtype="float64",
        function=lambda k, row, col: (col + 0.0, row * col + 0.0, (row + 1.0) / (col + 1.0))[k],
    )  # fmt: skip
    points = [CodedImage(f"T/C/{i}", properties={"n": i}) for i in range(3)]
    with serving(CodedCollection("T/C", points), islands, plain) as running:
        yield running


def pixels(image, **grid):
    found = ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": {**GRID, **grid}})
    return found[found.dtype.names[0]] if len(found.dtype.names) == 1 else found


def area(west=0, north=0, east=6, south=4):
    box = [500000 + 10 * west, 5000000 - 10 * south, 500000 + 10 * east, 5000000 - 10 * north]
    return ee.Geometry.Rectangle(box, ee.Projection(CRS), False)


def table(*rows, names=("x", "y")):
    return ee.FeatureCollection([ee.Feature(None, dict(zip(names, row, strict=True))) for row in rows])


def reduced(reducer, *rows, names=("x", "y")):
    return table(*rows, names=names).reduceColumns(reducer, list(names)).getInfo()


# ---- Reducers

LINE = [(0, 1), (1, 3.5), (2, 5), (3, 8)]


def test_pearson_spearman_and_kendall_documented(engine):
    x, y = np.array(LINE).T
    r = np.corrcoef(x, y)[0, 1]
    found = reduced(ee.Reducer.pearsonsCorrelation(), *LINE)
    assert found["correlation"] == pytest.approx(r)
    t = r * math.sqrt(2 / (1 - r * r))
    assert found["p-value"] == pytest.approx(1 - t / math.sqrt(2 + t * t))  # Student's t with 2 degrees of freedom
    assert reduced(ee.Reducer.spearmansCorrelation(), (1, 10), (2, 30), (3, 20))["correlation"] == pytest.approx(0.5)
    assert reduced(ee.Reducer.kendallsCorrelation(2), (1, 10), (2, 30), (3, 20))["tau"] == pytest.approx(1 / 3)


def test_sens_slope_is_the_median_of_all_slopes_documented(engine):
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(LINE) for b in LINE[i + 1 :]]
    found = reduced(ee.Reducer.sensSlope(), *LINE)
    assert found["slope"] == pytest.approx(np.median(slopes))
    assert found["offset"] == pytest.approx(4.25 - 1.5 * np.median(slopes))


def test_linear_regression_of_columns_documented(engine):
    found = reduced(ee.Reducer.linearRegression(2, 1), *[(1, *p) for p in LINE], names=("one", "x", "y"))
    slope, offset = np.polyfit(*np.array(LINE).T, 1)
    residuals = np.array(LINE)[:, 1] - offset - slope * np.array(LINE)[:, 0]
    assert np.allclose(found["coefficients"], [[offset], [slope]])
    assert found["residuals"] == pytest.approx([np.sqrt((residuals**2).mean())])
    assert reduced(ee.Reducer.linearRegression(2, 1), (1, 0, 1), (1, 1, 2), names=("one", "x", "y")) == {
        "coefficients": None, "residuals": None,
    }  # fmt: skip


def test_robust_regression_leaves_an_outlier_out_documented(engine):
    rows = [(1, x, 2 * x + 1 + 0.01 * (-1) ** x) for x in range(10)] + [(1, 10, 500)]
    found = reduced(ee.Reducer.robustLinearRegression(2, 1), *rows, names=("one", "x", "y"))
    assert np.allclose(found["coefficients"], [[1], [2]], atol=0.02)


def test_ridge_regression_has_its_constant_in_the_last_row_documented(engine):
    found = reduced(ee.Reducer.ridgeRegression(1, 1, 1e-9), *LINE)
    assert np.allclose(np.array(found["coefficients"])[:, 0], np.polyfit(*np.array(LINE).T, 1))


VALUES = [1, 2, 2, 3, 9]
REDUCERS = {
    "skew": (ee.Reducer.skew, "skew", None),
    "kurtosis": (ee.Reducer.kurtosis, "kurtosis", None),
    "intervalMean": (lambda: ee.Reducer.intervalMean(10, 90), "mean", (2 + 2 + 3) / 3),
    "countRuns": (ee.Reducer.countRuns, "count", 4),
    "bitwiseOr": (ee.Reducer.bitwiseOr, "bitwiseOr", 11),
    "bitwiseAnd": (ee.Reducer.bitwiseAnd, "bitwiseAnd", 0),
}


@pytest.mark.parametrize("name", REDUCERS)
def test_reducers_of_a_list_documented(engine, name):
    """That kurtosis is in excess of 3 is assumed."""
    make, output, expected = REDUCERS[name]
    if name in ("skew", "kurtosis"):
        d = np.array(VALUES) - np.mean(VALUES)
        power = {"skew": 3, "kurtosis": 4}[name]
        expected = (d**power).mean() / (d**2).mean() ** (power / 2) - (3 if power == 4 else 0)
    found = ee.List(VALUES).reduce(make()) if name != "countRuns" else table(
        *[(v,) for v in VALUES], names=("x",)
    ).reduceColumns(make(), ["x"]).get(output)  # fmt: skip
    assert found.getInfo() == pytest.approx(expected)


def test_circular_mean_of_angles_around_north_documented(engine):
    angles = [math.radians(350), math.radians(20)]
    assert ee.List(angles).reduce(ee.Reducer.circularMean()).getInfo() == pytest.approx(math.radians(5))


def test_histograms_count_documented(engine):
    """Widths are powers of 2; the least power for which there are few enough buckets is assumed."""
    found = ee.List(list(range(100))).reduce(ee.Reducer.histogram(16)).getInfo()
    assert found["bucketWidth"] == 8
    assert found["bucketMin"] == 0
    assert found["histogram"] == [8] * 12 + [4]
    assert found["bucketMeans"][0] == 3.5
    auto = ee.Array(ee.List(list(range(100))).reduce(ee.Reducer.autoHistogram(16))).getInfo()
    assert auto[1] == [8, 8]
    pairs = reduced(ee.Reducer.fixed2DHistogram(0, 2, 2, 0, 2, 2), (0, 0), (1, 0), (1.5, 1), (5, 5))
    assert pairs["histogram"] == [[1, 0], [1, 1]]


def test_reducers_of_parts_documented(engine):
    arrays = table(([1, 2],), ([3, 6],), names=("a",))
    assert arrays.reduceColumns(ee.Reducer.mean().forEachElement(), ["a"]).getInfo() == {"mean": [2, 4]}
    assert arrays.reduceColumns(ee.Reducer.sum().disaggregate(), ["a"]).getInfo() == {"sum": 12}
    collected = table((1, 2), (3, 4)).reduceColumns(ee.Reducer.toCollection(["p", "q"]), ["x", "y"]).getInfo()
    assert [f["properties"] for f in collected["features"]["features"]] == [{"p": 1, "q": 2}, {"p": 3, "q": 4}]
    each = ee.Reducer.sum().forEachBand(ee.Image("T/PLAIN"))
    assert each.getOutputs().getInfo() == ["a", "b", "c"]


def test_geometric_median_is_nearest_to_all_documented(engine):
    rows = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
    found = reduced(ee.Reducer.geometricMedian(2), *rows)
    assert list(found.values()) == pytest.approx([2, 2], abs=1e-3)


# ---- Kernels and neighbourhoods


def test_edges_by_kernels_documented(engine):
    plain = ee.Image("T/PLAIN").select("b")  # row * col
    sobel = pixels(plain.convolve(ee.Kernel.sobel()).unmask(-1))
    assert sobel[2, 3] == 2 * (1 + 2 * 2 + 3)  # two columns apart, rows 1, 2, 2 and 3
    turned = pixels(plain.convolve(ee.Kernel.sobel().rotate(1)).unmask(-1))
    assert turned[2, 3] == 2 * (2 + 2 * 3 + 4)
    assert pixels(plain.convolve(ee.Kernel.laplacian4()).unmask(-1))[2, 3] == 0
    both = ee.Kernel.rectangle(1, 0, "pixels", False).add(ee.Kernel.rectangle(0, 1, "pixels", False))
    assert pixels(plain.convolve(both).unmask(-1))[2, 3] == (4 + 6 + 8) + (3 + 6 + 9)
    derived = pixels(plain.derivative().unmask(-1))
    assert (derived["b_x"][2, 3], derived["b_y"][2, 3]) == (2, 3)


def test_distance_to_the_nearest_marked_pixel_documented(engine):
    marks = ee.Image("T/ISLANDS").select("v").eq(5)
    far = pixels(marks.distance(ee.Kernel.euclidean(30, "meters")).unmask(-1))
    assert far[3, 5] == 0
    assert far[3, 4] == 10
    assert far[2, 4] == pytest.approx(10 * math.sqrt(2))
    assert far[0, 0] == -1
    assert pixels(marks.distance(ee.Kernel.manhattan(3)).unmask(-1))[2, 4] == 2


def test_windows_as_bands_and_arrays_documented(engine):
    w = ee.Image("T/ISLANDS").select("w")
    bands = w.neighborhoodToBands(ee.Kernel.square(1))
    assert bands.bandNames().getInfo()[:2] == ["w_-1_-1", "w_0_-1"]
    assert pixels(bands.select("w_1_0"))[1, 2] == 13
    flat = w.neighborhoodToArray(ee.Kernel.square(1)).arrayFlatten([["n", "m", "s"], ["w", "m", "e"]])
    found = pixels(flat)
    assert [found[name][1, 2] for name in ("n_w", "m_m", "s_e")] == [1, 12, 23]
    assert found["n_w"][0, 0] == 0


def test_entropy_of_a_window_documented(engine):
    entropy = pixels(ee.Image("T/ISLANDS").select("v").entropy(ee.Kernel.square(1)))
    window = ISLANDS[0:3, 1:4]  # around row 1, column 2
    p = np.unique(window, return_counts=True)[1] / 9
    assert entropy[1, 2] == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-6)


def test_colours_there_and_back_documented(engine):
    rgb = ee.Image([0.2, 0.6, 0.4])
    hsv = pixels(rgb.rgbToHsv())[0, 0]
    assert hsv.tolist() == pytest.approx((150 / 360, 2 / 3, 0.6), abs=1e-6)  # colorsys.rgb_to_hsv
    assert pixels(rgb.rgbToHsv().hsvToRgb())[0, 0].tolist() == pytest.approx((0.2, 0.6, 0.4), abs=1e-6)


def test_unmixing_documented(engine):
    ends = [[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
    mixed = ee.Image([0.25, 1.5, 1.0])  # a quarter and three quarters
    assert pixels(mixed.unmix(ends))[0, 0].tolist() == pytest.approx((0.25, 0.75))
    odd = pixels(ee.Image([-1.0, 1.0, 0.0]).unmix(ends, True, True))[0, 0].tolist()
    assert sum(odd) == pytest.approx(1)
    assert min(odd) >= 0


def test_interpolation_beyond_the_ends_documented(engine):
    values = {
        how: pixels(ee.Image(5.0).interpolate([0, 2, 4], [0, 2, 6], how).unmask(-1))[0, 0]
        for how in ("extrapolate", "clamp", "input", "mask")
    }
    assert values == {"extrapolate": 8, "clamp": 6, "input": 5, "mask": -1}


def test_types_are_made_and_bands_cast_documented(engine):
    kind = ee.PixelType("double", -1, 1, 1)
    assert kind.getInfo() == {"type": "PixelType", "precision": "double", "min": -1, "max": 1, "dimensions": 1}
    assert ee.PixelType.int8().maxValue().getInfo() == 127
    cast = ee.Image("T/PLAIN").cast({"a": "uint8", "new": ee.PixelType.float()}, ["new", "a"]).getInfo()["bands"]
    assert [(b["id"], b["data_type"]["precision"]) for b in cast] == [("new", "float"), ("a", "int")]


# ---- Segments


def test_pixels_that_hang_together_are_counted_documented(engine):
    counts = pixels(ee.Image("T/ISLANDS").select("v").selfMask().connectedPixelCount(10, False).unmask(0))
    assert counts.tolist() == [[3, 3, 0, 4, 4, 4], [0, 3, 0, 0, 4, 0], [3, 0, 3, 3, 0, 0], [3, 3, 0, 3, 0, 1]]
    eight = pixels(ee.Image("T/ISLANDS").select("v").selfMask().connectedPixelCount(10).unmask(0))
    assert eight[0, 0] == 6  # the ones meet at a corner


def test_objects_are_reduced_documented(engine):
    image = ee.Image("T/ISLANDS")
    image = image.updateMask(image.select("v"))
    found = pixels(image.reduceConnectedComponents(ee.Reducer.max(), "v", 10).unmask(-1))
    assert found[0, 3] == 14
    assert found[3, 0] == 31
    assert found[3, 5] == 35
    labels = pixels(image.connectedComponents(ee.Kernel.plus(1), 10).select("labels").unmask(0))
    assert len({labels[0, 0], labels[2, 2], labels[0, 3], labels[2, 0], labels[3, 5]}) == 5
    small = {**GRID["affineTransform"], "translateX": 500030}
    assert pixels(image.connectedComponents(ee.Kernel.plus(1), 10).select("labels").unmask(0),
                  affineTransform=small)[0, 0] == labels[0, 3]  # fmt: skip


def test_objects_become_features_documented(engine):
    image = ee.Image("T/ISLANDS")
    vectors = image.updateMask(image.select("v")).reduceToVectors(
        ee.Reducer.mean(), area(), crs=CRS, crsTransform=[10, 0, 500000, 0, -10, 5000000], eightConnected=False
    )
    found = vectors.map(lambda f: f.set("area", f.geometry().transform(ee.Projection(CRS), 1).area(1, CRS))).getInfo()
    rows = sorted((f["properties"]["label"], round(f["properties"]["area"]), f["properties"]["mean"])
                  for f in found["features"])  # fmt: skip
    assert rows == [(1, 300, 4), (1, 300, pytest.approx(26)), (2, 400, 6.5), (3, 300, pytest.approx(27)), (5, 100, 35)]


def test_the_cheapest_way_goes_around_documented(engine):
    cost = ee.Image(1).where(ee.Image("T/ISLANDS").select("w").mod(10).eq(2).And(
        ee.Image("T/ISLANDS").select("w").lt(30)), 1000).reproject(CRS, [10, 0, 500000, 0, -10, 5000000])  # fmt: skip
    source = ee.Image("T/ISLANDS").select("w").eq(0)
    found = pixels(cost.cumulativeCost(source, 200, False))
    assert found[0, 1] == 10
    assert found[0, 3] == pytest.approx(10 + 20 * math.sqrt(2))  # not through the wall in column 2, but over its end
    assert found[1, 3] > found[0, 3]


def test_samples_of_every_class_documented(engine):
    found = ee.Image("T/ISLANDS").stratifiedSample(2, "v", area(), 10, CRS, classValues=[1], classPoints=[4])
    counts = ee.Dictionary(found.aggregate_histogram("v")).getInfo()
    assert counts == {"0": 2, "1": 4, "2": 2, "3": 2, "5": 1}


# ---- Tables and filters


def test_tables_documented(engine):
    rows = ee.FeatureCollection(table((1, 5), (2, 6), (2, 7)))
    assert rows.remap([1, 2], [10, 20], "x").aggregate_array("x").getInfo() == [10, 20, 20]
    random = rows.randomColumn("r", 3)
    assert random.aggregate_array("r").getInfo() == random.aggregate_array("r").getInfo()
    assert all(0 <= value < 1 for value in random.aggregate_array("r").getInfo())
    assert rows.makeArray(["y", "x"]).first().get("array").getInfo() == [5, 1]
    matrix = ee.FeatureCollection(table((0, 0), (0, 1), (1, 1), (1, 1))).errorMatrix("x", "y")
    assert matrix.getInfo() == [[1, 1], [0, 2]]
    assert matrix.accuracy().getInfo() == 0.75
    assert matrix.kappa().getInfo() == 0.5
    assert matrix.producersAccuracy().getInfo() == [[0.5], [1]]
    assert matrix.consumersAccuracy().getInfo() == [[1, pytest.approx(2 / 3)]]


def test_filters_by_difference_distance_area_and_type_documented(engine):
    scenes = ee.ImageCollection("T/C")
    assert scenes.filter(ee.Filter.maxDifference(1, "n", 0)).size().getInfo() == 2
    assert scenes.filter(ee.Filter.hasType("n", "Number")).size().getInfo() == 3
    near, far = ee.Geometry.Point([3.0, 45.1]), ee.Geometry.Point([4.0, 45.1])
    places = ee.FeatureCollection([ee.Feature(near, {"a": 1}), ee.Feature(far, {"a": 2}), ee.Feature(near.buffer(100))])
    within = ee.Filter.withinDistance(50_000, ".geo", ee.Geometry.Point([3.1, 45.1]))
    assert places.filter(within).size().getInfo() == 2
    assert places.filter(ee.Filter.area(30_000, 32_000)).size().getInfo() == 1
    joined = ee.Join.saveBest("best", "apart").apply(scenes, scenes, ee.Filter.maxDifference(0, "n", None, "n"))
    assert joined.size().getInfo() == 3  # a difference of 0 is a match


def test_images_of_features_documented(engine):
    fields = ee.FeatureCollection([
        ee.Feature(area(0, 0, 2, 2), {"v": 3}), ee.Feature(area(1, 0, 3, 1), {"v": 5})
    ])  # fmt: skip
    image = pixels(fields.reduceToImage(["v"], ee.Reducer.sum()).unmask(0))
    assert image.tolist() == [[3, 8, 5, 0, 0, 0], [3, 3, 0, 0, 0, 0], [0] * 6, [0] * 6]
    point = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([500005, 4999995], CRS))])
    metres = pixels(point.distance(45).unmask(-1))
    assert metres[0, 3] == pytest.approx(30, rel=5e-3)  # on a sphere
    assert metres[3, 5] == -1


def test_lines_are_cut_and_nearest_points_found_documented(engine):
    line = ee.Geometry.LineString([[500000, 5000000], [500100, 5000000]], ee.Projection(CRS), False)
    pieces = line.cutLines([30, 60], 1, ee.Projection(CRS)).coordinates().getInfo()
    assert [[xy[0] - 500000 for xy in piece] for piece in pieces] == [[0, 30], [30, 60], [60, 100]]
    other = ee.Geometry.Point([500040, 5000020], ee.Projection(CRS))
    nearest = ee.Geometry(other.closestPoint(line, 1, ee.Projection(CRS)))
    assert nearest.coordinates().getInfo() == [500040, 5000000]


def test_points_by_chance_are_in_the_region_documented(engine):
    points = ee.FeatureCollection.randomPoints(ee.Geometry.Rectangle([3, 45, 4, 46]), 20, 7)
    found = [f["geometry"]["coordinates"] for f in points.getInfo()["features"]]
    assert len(found) == 20
    assert all(3 <= x <= 4 and 45 <= y <= 46 for x, y in found)


def test_a_table_that_is_not_there_recorded_text(engine):
    with pytest.raises(ee.EEException, match="not found \\(does not exist or caller does not have access\\)"):
        ee.FeatureCollection("users/nobody/fields").size().getInfo()
