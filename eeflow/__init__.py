"""eeflow: Earth Engine imagery straight to the local disk, each pixel in its place."""

from importlib.metadata import version

__version__ = version("eeflow")
