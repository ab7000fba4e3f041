"""A local Earth Engine: the REST protocol the real client speaks, over local rasters and a generated world."""

from eelocal.assets import Assets, Band, StoredCollection, StoredImage
from eelocal.cli import main
from eelocal.errors import EarthEngineError
from eelocal.server import LocalEarthEngine

__all__ = [
    "Assets",
    "Band",
    "EarthEngineError",
    "LocalEarthEngine",
    "StoredCollection",
    "StoredImage",
    "main",
]
