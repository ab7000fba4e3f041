"""ImageCollection: many images into one."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from eelocal import registry
from eelocal.algorithms.image_math import union_type
from eelocal.algorithms.reducers import named
from eelocal.bands import joined, select_bands
from eelocal.errors import EarthEngineError
from eelocal.evaluation import current
from eelocal.grid import Grid, Pixels
from eelocal.region import frame_of
from eelocal.registry import algorithm
from eelocal.sampling import empty
from eelocal.values.collection import Collection
from eelocal.values.filter import Query
from eelocal.values.geometry import meet
from eelocal.values.image import Band, Image
from eelocal.values.pixeltype import PixelType
from eelocal.values.projection import WGS84
from eelocal.values.reducer import Reducer

_LOOKED_AT = 50  # images whose bands decide the bands of a composite
_STACK = 2**22  # values of one band held at once


@algorithm("ImageCollection.mosaic")
def mosaic(collection: Collection) -> Image:
    """The last image on top: each pixel from the last image that is valid there."""
    return Image([_composite(collection, n, t, _topmost(n, t)) for n, t in band_types(collection).items()])


@algorithm("ImageCollection.qualityMosaic")
def quality_mosaic(collection: Collection, qualityBand: str) -> Image:
    """Each pixel from the image whose quality band is greatest there."""
    kinds = band_types(collection)
    if qualityBand not in kinds:
        raise EarthEngineError(f"Band '{qualityBand}' is not among the bands: [{', '.join(kinds)}].")

    def best(name: str) -> Callable[[Sequence[Image], Grid], Pixels]:
        def run(images: Sequence[Image], grid: Grid) -> Pixels:
            values, valid = empty(grid, kinds[name].dtype)
            quality = np.full(grid.shape, -np.inf)
            for image in images:
                pixels, score = named_band(image, name).pixels(grid), named_band(image, qualityBand).pixels(grid)
                take = pixels.valid & score.valid & (score.values > quality)
                values[take], valid[take], quality[take] = pixels.values[take], True, score.values[take]
            return Pixels(values, valid)

        return run

    return Image([_composite(collection, n, t, best(n)) for n, t in kinds.items()])


@algorithm("ImageCollection.reduce")
def reduce(collection: Collection, reducer: Reducer, parallelScale: float) -> Image:
    """A reducer over the images, for each band; outputs are named `band_output`."""
    kinds = band_types(collection)
    if reducer.inputs > 1:
        return Image(_joint(collection, reducer, kinds))
    bands = [_outputs(collection, reducer, name, kind, suffix=True) for name, kind in kinds.items()]
    return Image([band for group in bands for band in group])


@algorithm("ImageCollection.toBands")
def to_bands(collection: Collection) -> Image:
    """All bands of all images, named `index_band`."""
    bands = [band.renamed(f"{image.index}_{band.name}") for image in collection.listed() for band in image.bands]
    return Image(joined([], bands, overwrite=False))


@algorithm("ImageCollection.combine")
def combine(primary: Collection, secondary: Collection, overwrite: bool) -> Collection:
    """Images with the bands of the image of the same index in the other collection; those without are left out."""

    def source(query: Query) -> Iterator[Any]:
        others = {image.index: image for image in secondary.elements(Query(indices=query.indices))}
        for image in primary.elements(query):
            other = others.get(image.index)
            if other is not None:
                yield image.with_bands(joined(image.bands, other.bands, overwrite=overwrite))

    return primary.like(source)


def band_types(collection: Collection) -> dict[str, PixelType]:
    """Bands by name, those of the first images together, each with the union of its types."""
    kinds: dict[str, PixelType] = {}
    for image in itertools.islice(collection.elements(), _LOOKED_AT):
        for band in image.bands:
            known = kinds.get(band.name)
            kinds[band.name] = band.type if known is None or known == band.type else union_type(known, band.type)
    return kinds


def named_band(image: Image, name: str) -> Band:
    """A band by its exact name."""
    found = next((band for band in image.bands if band.name == name), None)
    return found if found is not None else select_bands(image, [name])[0]


def members(collection: Collection, grid: Grid) -> list[Image]:
    """Images that touch a grid."""

    def make() -> list[Image]:
        frame = frame_of(grid)
        found = collection.elements(Query(region=frame))
        return [image for image in found if image.footprint is None or meet(image.footprint, frame)]

    return current().remember(("members", collection, grid), make, lambda found: 500 * len(found))


def stack_of(images: Sequence[Image], name: str, kind: PixelType, grid: Grid) -> Pixels:
    """One band of images, shape (image, row, column); an image without the band is masked."""
    values = np.zeros((len(images), *grid.shape), kind.dtype)
    valid = np.zeros(values.shape, bool)
    for i, image in enumerate(images):
        band = next((band for band in image.bands if band.name == name), None)
        if band is not None:
            values[i], valid[i] = band.pixels(grid)
    return Pixels(values, valid)


def _composite(
    collection: Collection, name: str, kind: PixelType, merge: Callable[[Sequence[Image], Grid], Pixels]
) -> Band:
    """A band made of all images that touch a grid; a composite has no projection of its own."""

    def read(grid: Grid) -> Pixels:
        return merge([image for image in members(collection, grid) if name in image.names], grid)

    return Band(name, kind, WGS84, read)


def _topmost(name: str, kind: PixelType) -> Callable[[Sequence[Image], Grid], Pixels]:
    def run(images: Sequence[Image], grid: Grid) -> Pixels:
        values, valid = empty(grid, kind.dtype)
        for image in reversed(images):
            if valid.all():
                break
            pixels = named_band(image, name).pixels(grid)
            take = pixels.valid & ~valid
            values[take] = pixels.values[take]
            valid |= take
        return Pixels(values, valid)

    return run


def _outputs(collection: Collection, reducer: Reducer, name: str, kind: PixelType, *, suffix: bool) -> list[Band]:
    kinds = reducer.output_types([kind])
    results = _Reduction(collection, reducer, ((name, kind),), tuple(kinds))
    return [
        Band(f"{name}_{output}" if suffix else name, out, WGS84, results.reader(i))
        for i, (output, out) in enumerate(zip(reducer.outputs, kinds, strict=True))
    ]


def _joint(collection: Collection, reducer: Reducer, kinds: dict[str, PixelType]) -> list[Band]:
    if reducer.inputs != len(kinds):
        raise EarthEngineError(f"Reducer needs {reducer.inputs} bands, but the images have {len(kinds)}.")
    types = reducer.output_types(list(kinds.values()))
    results = _Reduction(collection, reducer, tuple(kinds.items()), tuple(types))
    pairs = zip(reducer.outputs, types, strict=True)
    return [Band(output, out, WGS84, results.reader(i)) for i, (output, out) in enumerate(pairs)]


class _Reduction:
    """A reducer over bands of a collection; all outputs of a grid are computed together."""

    def __init__(
        self,
        collection: Collection,
        reducer: Reducer,
        bands: tuple[tuple[str, PixelType], ...],
        types: tuple[PixelType, ...],
    ) -> None:
        if reducer.reduce is None:
            raise EarthEngineError(f"The reducer of {', '.join(reducer.outputs)} cannot be applied to images.")
        self.collection, self.reducer, self.bands, self.types = collection, reducer, bands, types

    def reader(self, output: int) -> Callable[[Grid], Pixels]:
        """Reads one output."""

        def read(grid: Grid) -> Pixels:
            found = current().remember((self, grid), lambda: self._results(grid), _bytes)
            return found[output]

        return read

    def _results(self, grid: Grid) -> list[Pixels]:
        images = members(self.collection, grid)
        rows = max(1, _STACK // max(1, grid.width * len(images)))
        results = [empty(grid, kind.dtype) for kind in self.types]
        if not images:
            return results
        for start in range(0, grid.height, rows):
            part = grid.window(0, start, grid.width, min(rows, grid.height - start))
            stacks = [stack_of(images, name, kind, part) for name, kind in self.bands]
            assert self.reducer.reduce is not None
            for result, pixels in zip(results, self.reducer.reduce(stacks, None), strict=True):
                result.values[start : start + part.height] = pixels.values
                result.valid[start : start + part.height] = pixels.valid
        return results


def _bytes(results: Sequence[Pixels]) -> int:
    return sum(int(pixels.values.nbytes + pixels.valid.nbytes) for pixels in results)


def _shortcut(reducer: Reducer) -> Callable[[Collection], Image]:
    def function(collection: Collection) -> Image:
        kinds = band_types(collection)
        groups = [_outputs(collection, reducer, name, kind, suffix=False) for name, kind in kinds.items()]
        return Image([band for group in groups for band in group])

    return function


for _name in ("min", "max", "count", "sum", "product", "mean", "and", "or", "median", "mode"):
    registry.add(f"reduce.{_name}", _shortcut(named(_name)))
