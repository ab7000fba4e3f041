"""xee's own integration tests, as its wheel carries them, pass on eelocal.

They are made for the real service and its real imagery: those that cannot pass are named below, and why. They need two
packages that xee does not declare: a stand-in is used for absl's few assertions, and the tests of rioxarray are
skipped where that is not installed.
"""

import importlib
import sys
import types
import unittest

import ee
import pytest
from google.auth.credentials import AnonymousCredentials

pytest.importorskip("xee")

CANNOT = {
    "test_honors_geometry_simple_utm": "compares with the pixels of a real Landsat scene over San Francisco",
    "test_extract_grid_params_from_image": "compares with the size of a real Landsat 5 scene",
}


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


@pytest.fixture
def connected(local_ee, monkeypatch):
    """xee's tests connect anew each time: here, to the local server."""

    def connect():
        ee.deprecation._FetchDataCatalogStac = dict
        ee.data.setMaxRetries(0)
        ee.Initialize(AnonymousCredentials(), url=local_ee.url, project="local-project")

    monkeypatch.setattr(SUITE, "init_ee_for_tests", connect)
    monkeypatch.setattr("xarray.backends.common.time.sleep", lambda seconds: None)  # between retries: minutes
    connect()


@pytest.mark.parametrize("case", list(cases()))
def test_of_xee_documented(case, connected):
    if case._testMethodName in CANNOT:
        pytest.skip(CANNOT[case._testMethodName])
    result = unittest.TestResult()
    case.run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    problems = "\n".join(text for _, text in result.failures + result.errors)
    assert result.testsRun == 1 and not problems, problems
