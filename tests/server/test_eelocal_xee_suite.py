"""xee's own integration tests, as its wheel carries them, pass on eelocal.

They are made for the real service and its real imagery. Two compare with what a real scene is: those scenes, on their
real grids and with the pixels that the tests tell of, are files that a second server serves. They need two packages
that xee does not declare: a stand-in is used for absl's few assertions, and the tests of rioxarray are skipped where
that is not installed.
"""

import importlib
import sys
import types
import unittest

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window
from test_eelocal_support import connect

from eelocal import LocalEarthEngine

pytest.importorskip("xee")

OF_REAL_SCENES = {"test_honors_geometry_simple_utm", "test_extract_grid_params_from_image"}
CATALOGUE = """
images:
  - {id: LANDSAT/LC09/C02/T1_L2/LC09_043034_20211116, files: [l9.tif], time: 2021-11-16T18:45:24}
  - {id: LANDSAT/LT05/C02/T1_TOA/LT05_031034_20110619, files: [l5.tif], time: 2011-06-19T17:22:40}
"""


class TestCase(unittest.TestCase):
    """What absl's test case has beyond that of the standard library, as far as xee uses it."""

    def assertLen(self, container, length):
        self.assertEqual(len(container), length)

    def assertNotEmpty(self, container):
        self.assertTrue(len(container))


def absl():
    """absl.testing.absltest, or a stand-in."""
    try:
        return importlib.import_module("absl.testing.absltest")
    except ImportError:
        package, testing, module = (types.ModuleType(n) for n in ("absl", "absl.testing", "absl.testing.absltest"))
        module.TestCase, module.skipIf, module.main = TestCase, unittest.skipIf, unittest.main
        package.testing, testing.absltest = testing, module
        sys.modules.update({m.__name__: m for m in (package, testing, module)})
        return module


absl()
SUITE = importlib.import_module("xee.ext_integration_test")


def cases():
    for test in unittest.defaultTestLoader.loadTestsFromModule(SUITE):
        for case in test:
            yield pytest.param(case, id=f"{type(case).__name__}.{case._testMethodName}")


@pytest.fixture(scope="module")
def real_scenes(tmp_path_factory):
    """A server of a Landsat 9 scene over San Francisco, of which eight pixels are known, and a Landsat 5 scene."""
    folder = tmp_path_factory.mktemp("scenes")
    known = np.array([[14332, 12254], [13622, 10379], [12058, 10701], [11264, 11150]], np.uint16)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "nodata": 0, "tiled": True, "sparse_ok": True}
    west = {"crs": "EPSG:32610", "transform": Affine(30, 0, 448485, 0, -30, 4263915), "width": 7591, "height": 7731}
    with rasterio.open(folder / "l9.tif", "w", **profile, **west) as dataset:
        dataset.write(known, 1, window=Window(3433, 2800, 2, 4))
        dataset.set_band_description(1, "SR_B1")
    plain = {"crs": "EPSG:32613", "transform": Affine(30, 0, 643185, 0, -30, 4255815), "width": 7881, "height": 6981}
    rasterio.open(folder / "l5.tif", "w", **profile, **plain).close()
    (folder / "eelocal.yaml").write_text(CATALOGUE)
    with LocalEarthEngine(data=[folder], world=False) as engine:
        yield engine


@pytest.fixture
def connected(local_ee, case, request, monkeypatch):
    """xee's tests connect anew each time: here, to the local server."""
    engine = request.getfixturevalue("real_scenes") if case._testMethodName in OF_REAL_SCENES else local_ee
    monkeypatch.setattr(SUITE, "init_ee_for_tests", lambda: connect(engine.url))
    monkeypatch.setattr("xarray.backends.common.time.sleep", lambda seconds: None)  # between retries: minutes
    connect(engine.url)
    yield
    connect(local_ee.url)


@pytest.mark.parametrize("case", list(cases()))
def test_of_xee_documented(case, connected):
    result = unittest.TestResult()
    case.run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    problems = "\n".join(text for _, text in result.failures + result.errors)
    assert result.testsRun == 1 and not problems, problems
