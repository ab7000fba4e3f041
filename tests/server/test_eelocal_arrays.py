"""Arrays and images of arrays, through the real client; expected values by hand, by numpy, or from Earth
Engine's pages.

*documented*: the examples of https://developers.google.com/earth-engine/apidocs (ee-array-add, ee-array-multiply,
ee-image-arrayflatten) and the arguments' descriptions in the client's algorithms.json. *assumed*: what neither says.
"""

import math

import ee
import numpy as np
import pytest
from test_eelocal_support import CodedCollection, CodedImage, serving

CRS = "EPSG:32631"
SIZE = (6, 5)
GRID = {
    "dimensions": {"width": 6, "height": 5},
    "affineTransform": {"scaleX": 10, "translateX": 500000, "scaleY": -10, "translateY": 5000000},
    "crsCode": CRS,
}
DAYS = 5


def value(day, k, row, col):
    return (k + 1) * 1000 + (day * 37 + row * 11 + col * 5) % 97 + day


def is_masked(day, row, col):
    return (day + row + col) % 3 == 0


def scene(day):
    return CodedImage(
        f"T/C/d{day}",
        size=SIZE,
        properties={"system:time_start": day * 86_400_000},
        function=lambda k, row, col: value(day, k, row, col),
        masked=lambda k, row, col: is_masked(day, row, col),
    )


@pytest.fixture(scope="module")
def engine():
    plain = CodedImage("T/PLAIN", bands=("B1", "B2", "B3"), size=SIZE)
    with serving(CodedCollection("T/C", [scene(day) for day in range(DAYS)]), plain) as running:
        yield running


def pixels(image):
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": GRID})


def at(image, row=1, col=2):
    point = ee.Geometry.Point([500005 + 10 * col, 4999995 - 10 * row], CRS)
    return next(iter(ee.Image(image).reduceRegion(ee.Reducer.first(), point, 10, CRS).getInfo().values()))


def message(value):
    with pytest.raises(ee.EEException) as caught:
        value.getInfo()
    return str(caught.value)


def series(row, col):
    """The valid days of a pixel, by row, and the bands by column."""
    days = [day for day in range(DAYS) if not is_masked(day, row, col)]
    return np.array([[value(day, k, row, col) for k in (0, 1)] for day in days], float)


ARRAYS = {
    "a number added": (lambda: ee.Array([[0, 1, 2], [3, 4, 5]]).add(1), [[1, 2, 3], [4, 5, 6]]),  # documented
    "lists are arrays": (lambda: ee.Array([1, -2, 2, 4]).multiply([-1, -4, -1, 1.2]), [-1, 8, -2, 4.8]),  # documented
    "empty": (lambda: ee.Array([], ee.PixelType.int8()).add(ee.Array([], ee.PixelType.int8())), []),  # documented
    "division": (lambda: ee.Array([1, 3]).divide([2, 0]), [0.5, 0]),
    "cast": (lambda: ee.Array([1.7, 300], ee.PixelType.uint8()), [1, 255]),
    "comparison": (lambda: ee.Array([1, 2, 3]).gte(2), [0, 1, 1]),
    "columns side by side": (lambda: ee.Array.cat([[1, 2], [3, 4]], 1), [[1, 3], [2, 4]]),
    "slice": (lambda: ee.Array([[1, 2, 3], [4, 5, 6]]).slice(1, -2), [[2, 3], [5, 6]]),
    "every other": (lambda: ee.Array([0, 1, 2, 3, 4]).slice(0, 0, None, 2), [0, 2, 4]),
    "cut": (lambda: ee.Array([[1, 2], [3, 4]]).cut([1, -1]), [[3, 4]]),
    "get": (lambda: ee.Array([[1, 2], [3, 4]]).get([1, 0]), 3),
    "length": (lambda: ee.Array([[1, 2, 3]]).length(), [1, 3]),
    "project": (lambda: ee.Array([[1, 2, 3]]).project([1]), [1, 2, 3]),
    "reshape": (lambda: ee.Array([1, 2, 3, 4]).reshape([2, -1]), [[1, 2], [3, 4]]),
    "pad": (lambda: ee.Array([[1]]).pad([2, 2], 9), [[1, 9], [9, 9]]),
    "repeat": (lambda: ee.Array([1, 2]).repeat(0, 2), [1, 2, 1, 2]),
    "mask": (lambda: ee.Array([[1, 2], [3, 4]]).mask([[0], [1]]), [[3, 4]]),
    "sort by keys": (lambda: ee.Array([[1, 9], [2, 8]]).sort([[2], [1]]), [[2, 8], [1, 9]]),
    "argmax": (lambda: ee.Array([[1, 7], [7, 3]]).argmax(), [0, 1]),
    "bits": (lambda: ee.Array.bitsToArray(6), [0, 1, 1]),
    "transpose": (lambda: ee.Array([[1, 2, 3]]).transpose(), [[1], [2], [3]]),
    "dot": (lambda: ee.Array([1, 2]).dotProduct([3, 4]), 11),
    "reduce": (lambda: ee.Array([[1, 5], [3, 9]]).reduce(ee.Reducer.mean(), [0]), [[2, 7]]),
    "reduce with fields": (
        lambda: ee.Array([[0, 1], [1, 3], [2, 5]]).reduce(ee.Reducer.linearFit(), [0], 1), [[2, 1]],
    ),
    "running sum": (lambda: ee.Array([1, 2, 3]).accum(0), [1, 3, 6]),
    "running maximum": (lambda: ee.Array([1, 3, 2]).accum(0, ee.Reducer.max()), [1, 3, 3]),
    "determinant": (lambda: ee.Array([[2, 1], [4, 3]]).matrixDeterminant(), 2),
    "trace": (lambda: ee.Array([[2, 1], [4, 3]]).matrixTrace(), 5),
    "product": (lambda: ee.Array([[1, 2], [3, 4]]).matrixMultiply([[1], [1]]), [[3], [7]]),
    "solution": (lambda: ee.Array([[2, 0], [0, 4]]).matrixSolve([[2], [2]]), [[1], [0.5]]),
    "eigenvalues": (lambda: ee.Array([[2, 0], [0, 3]]).eigen(), [[3, 0, 1], [2, 1, 0]]),
    "diagonal": (lambda: ee.Array([[1, 2], [3, 4]]).matrixDiagonal(), [[1], [4]]),
    "to diagonal": (lambda: ee.Array([[1], [4]]).matrixToDiag(), [[1, 0], [0, 4]]),
    "lists": (lambda: ee.Array([[1, 2]]).toList().get(0), [1, 2]),
    "of a list": (lambda: ee.List([[1, 2], 3]).getArray(0), [1, 2]),
    "of a dictionary": (lambda: ee.Dictionary({"b": 2, "a": 1}).toArray(), [1, 2]),
    "of a property": (lambda: ee.Feature(None, {"x": ee.Array([1, 2])}).getArray("x").add(1), [2, 3]),
    "of properties": (lambda: ee.Feature(None, {"x": 1, "y": 5}).toArray(["y", "x"]), [5, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_documented(engine, name):
    make, expected = ARRAYS[name]
    assert np.allclose(make().getInfo(), expected, atol=1e-12)
    assert np.shape(make().getInfo()) == np.shape(expected)


def test_decompositions_give_the_matrix_again(engine):
    a = [[2.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 1.0]]
    lu = {k: np.array(v) for k, v in ee.Array(a).matrixLUDecomposition().getInfo().items()}
    svd = {k: np.array(v) for k, v in ee.Array(a).matrixSingularValueDecomposition().getInfo().items()}
    qr = {k: np.array(v) for k, v in ee.Array(a).matrixQRDecomposition().getInfo().items()}
    cholesky = np.array(ee.Array(a).matrixCholeskyDecomposition().getInfo()["L"])
    assert np.allclose(lu["P"] @ a, lu["L"] @ lu["U"])
    assert np.allclose(svd["U"] @ svd["S"] @ svd["V"].T, a)
    assert np.allclose(qr["Q"] @ qr["R"], a)
    assert np.allclose(cholesky @ cholesky.T, a)


@pytest.mark.parametrize(("make", "text"), [
    (lambda: ee.Array([[1], [1, 2]]), "numbers of the same length"),
    (lambda: ee.Array([1, 2]).add([1, 2, 3]), "the same shape"),
    (lambda: ee.Array([[1, 2], [2, 4]]).matrixInverse(), "singular"),
    (lambda: ee.Array([[1, 2]]).project([0]), "at most 1"),
    (lambda: ee.Array([1]).get([3]), "out of range"),
    (lambda: ee.Array([1]).reduce(ee.Reducer.linearFit(), [0]), "fieldAxis"),
    (lambda: ee.Array.identity(100_000), "User memory limit exceeded."),
    (lambda: ee.Array([1]).repeat(0, 10**9), "User memory limit exceeded."),
])  # fmt: skip
def test_impossible_arrays_say_why(engine, make, text):
    assert text in message(make())


def test_bands_become_an_array_and_bands_again_documented(engine):
    array = ee.Image("T/PLAIN").toArray()
    assert at(array) == [10102, 20102, 30102]
    assert at(array.toArray(1)) == [[10102], [20102], [30102]]
    assert array.bandNames().getInfo() == ["array"]
    assert array.getInfo()["bands"][0]["data_type"]["dimensions"] == 1
    flat = array.arrayFlatten([["x", "y", "z"]])
    assert flat.bandNames().getInfo() == ["x", "y", "z"]
    expected = pixels(ee.Image("T/PLAIN"))
    found = pixels(flat)
    assert all(np.array_equal(found[new], expected[old]) for new, old in zip("xyz", ("B1", "B2", "B3"), strict=True))
    assert at(array.multiply(2).subtract(array)) == [10102, 20102, 30102]
    assert at(array.arraySlice(0, 1).arrayReduce("sum", [0])) == [50204]
    assert at(array.arrayGet(1)) == 20102
    assert at(array.arrayLength(0)) == 3
    assert at(array.sqrt()) == pytest.approx([math.sqrt(v) for v in (10102, 20102, 30102)], rel=1e-6)


def test_a_collection_is_an_array_of_the_images_that_are_valid_documented(engine):
    stack = ee.ImageCollection("T/C").toArray()
    assert at(stack) == series(1, 2).tolist()
    assert at(ee.ImageCollection("T/C").toArrayPerBand(0, True).select("B2")) == series(1, 2)[:, 1].tolist()
    medians = pixels(stack.arrayReduce(ee.Reducer.median(), [0]).arrayProject([1]).arrayFlatten([["x", "y"]]))
    expected = np.array([[np.median(series(r, c), axis=0) for c in range(6)] for r in range(5)])
    assert np.array_equal(medians["x"], expected[..., 0])
    assert np.array_equal(medians["y"], expected[..., 1])


def test_one_masked_image_masks_the_array_of_a_band_documented(engine):
    whole = ee.ImageCollection("T/C").select("B1").toArrayPerBand().arrayLength(0).unmask(-1)
    assert (pixels(whole)["B1"] == -1).all()  # with five days and a mask of every third, one is masked everywhere


def test_the_best_days_by_a_band_documented(engine):
    """As in the guide Array Sorting and Reducing: sort by a column, take the first rows."""
    stack = ee.ImageCollection("T/C").toArray()
    best = stack.arraySort(stack.arraySlice(1, 0, 1).multiply(-1)).arraySlice(0, 0, 2)
    rows = series(1, 2)
    assert at(best) == rows[np.argsort(-rows[:, 0], kind="stable")][:2].tolist()


def test_a_regression_by_matrices_and_by_the_reducer_agree_with_numpy_documented(engine):
    """As in the guide Array Transformations; the reducer as in Linear Regression."""

    def with_time(image):
        time = ee.Image(ee.Number(image.get("system:time_start")).divide(86_400_000)).toFloat()
        return (
            ee.Image(1)
            .addBands(time.rename("t"))
            .addBands(image.select("B1").toDouble())
            .updateMask(image.select("B1").mask())
        )

    collection = ee.ImageCollection("T/C").map(with_time)
    stack = collection.toArray()
    solved = stack.arraySlice(1, 0, 2).matrixSolve(stack.arraySlice(1, 2, 3))
    found = pixels(solved.arrayProject([0]).arrayFlatten([["offset", "slope"]]))
    reduced = collection.reduce(ee.Reducer.linearRegression(2, 1)).select("coefficients")
    other = pixels(reduced.arrayProject([0]).arrayFlatten([["offset", "slope"]]))
    for row in range(5):
        for col in range(6):
            days = np.array([day for day in range(DAYS) if not is_masked(day, row, col)], float)
            slope, offset = np.polyfit(days, series(row, col)[:, 0], 1)
            assert found["slope"][row, col] == pytest.approx(slope, abs=1e-6)
            assert other["offset"][row, col] == pytest.approx(offset, abs=1e-6)


def test_get_region_gives_arrays_as_lists_assumed(engine):
    stack = ee.ImageCollection([ee.ImageCollection("T/C").toArray()])
    point = ee.Geometry.Point([500025, 4999985], CRS)
    row = stack.getRegion(point, crs=CRS, crsTransform=[10, 0, 500000, 0, -10, 5000000]).getInfo()[1]
    assert row[4] == series(1, 2).tolist()


def test_arrays_are_no_pixels_of_a_file_assumed(engine):
    with pytest.raises(ee.EEException, match="use arrayFlatten"):
        pixels(ee.Image("T/PLAIN").toArray())


def test_special_functions_agree_with_their_tables(engine):
    """https://dlmf.nist.gov: chi-squared of 1 degree of freedom is 0.95 at 3.84; digamma(1) is -0.577."""
    assert ee.Number(3.841458820694124 / 2).gammainc(0.5).getInfo() == pytest.approx(0.95)
    assert ee.Number(1).digamma().getInfo() == pytest.approx(-0.5772156649015329)
    assert ee.Number(1).trigamma().getInfo() == pytest.approx(math.pi**2 / 6)
    assert ee.Number(0.5).erfInv().getInfo() == pytest.approx(0.4769362762044699)
    assert at(ee.Image(3.841458820694124 / 2).gammainc(0.5)) == pytest.approx(0.95)
