"""Image and ImageCollection: pixels that are arrays. The computing is in `eelocal.stacked`."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eelocal import stacked
from eelocal.algorithms.composites import band_types, members, stack_of
from eelocal.algorithms.image_math import pair_bands, union_type
from eelocal.arrays import Array, objects, on_pixels
from eelocal.errors import EarthEngineError
from eelocal.grid import Grid, Pixels
from eelocal.registry import algorithm
from eelocal.sampling import empty
from eelocal.values.collection import Collection
from eelocal.values.image import Band, Image, constant_band
from eelocal.values.pixeltype import CASTS, PixelType, integer
from eelocal.values.projection import WGS84
from eelocal.values.reducer import Reducer

_LENGTH = integer(0, 2**31 - 1)
_MAX_BANDS = 10_000  # an image of more makes nobody happy


def array_band(bands: Sequence[Band], function: Callable[..., Any], kind: PixelType) -> Band:
    """A band that is a function of stacks of others; it is where the first is."""

    def read(grid: Grid) -> Pixels:
        return on_pixels(function, [band.pixels(grid) for band in bands], kind)

    return bands[0].derived(read, kind)


def each_band(
    image: Image, function: Callable[..., Any], kind: Callable[[PixelType], PixelType] = lambda kind: kind
) -> Image:
    """A function of the arrays of each band."""
    return image.bare([array_band([band], function, kind(_arrays(band).type)) for band in image.bands])


def _arrays(band: Band) -> Band:
    if not band.type.dimensions:
        raise EarthEngineError(f"Band '{band.name}' has numbers, not arrays.")
    return band


@algorithm("Image.toArray", keeps="image")
def to_array(image: Image, axis: int) -> Image:
    """The bands one after the other as one array a pixel."""
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    dimensions = {band.type.dimensions for band in image.bands}
    if len(dimensions) > 1:
        raise EarthEngineError("All bands must have the same number of dimensions.")
    most = dimensions.pop()
    if not 0 <= axis <= most:
        raise EarthEngineError(f"Axis must be from 0 to {most}. Got {axis}.")
    kind = image.bands[0].type.element
    for band in image.bands[1:]:
        kind = union_type(kind, band.type.element)
    made = array_band(image.bands, lambda *s: stacked.cat(axis, *s), kind.array(max(most, axis + 1)))
    return image.with_bands([made.renamed("array")])


@algorithm("ImageCollection.toArray")
def collection_to_array(collection: Collection) -> Image:
    """At each pixel the images that are valid in all bands, by row, and their bands, by column."""
    kinds = band_types(collection)
    together = _together(list(kinds.values()))

    def read(grid: Grid) -> Pixels:
        images = members(collection, grid)
        if not images:
            return empty(grid, np.dtype(object))
        stacks = [stack_of(images, name, kind, grid) for name, kind in kinds.items()]
        valid = np.logical_and.reduce([stack.valid for stack in stacks]).reshape(len(images), -1)
        table = np.stack([stack.values.astype(together.dtype) for stack in stacks], axis=-1)
        table = table.reshape(len(images), valid.shape[1], len(stacks))
        some = valid.any(axis=0)
        values = np.zeros(grid.shape, object)
        values.reshape(-1)[some] = stacked.ragged(table[valid[:, i], i] for i in np.flatnonzero(some))
        return Pixels(values, some.reshape(grid.shape))

    return Image([Band("array", together.array(2), WGS84, read)])


@algorithm("ImageCollection.toArrayPerBand")
def collection_to_array_per_band(collection: Collection, axis: int, dropMasked: bool) -> Image:
    """Each band of all images one after the other; masked where one is, unless these are left out."""

    def made(name: str, kind: PixelType) -> Band:
        if kind.dimensions or axis != 0:
            raise EarthEngineError("Bands of numbers are concatenated along axis 0 only; others are not known here.")

        def read(grid: Grid) -> Pixels:
            images = members(collection, grid)
            if not images:
                return empty(grid, np.dtype(object))
            stack = stack_of(images, name, kind, grid)
            table, valid = (part.reshape(len(images), -1).T for part in stack)
            some = valid.any(axis=1) if dropMasked else valid.all(axis=1)
            values = np.zeros(grid.shape, object)
            whole = np.ascontiguousarray(table[some])
            found = (
                stacked.ragged(row[ok] for row, ok in zip(whole, valid[some], strict=True))
                if dropMasked
                else objects(whole)
            )
            values.reshape(-1)[some] = found
            return Pixels(values, some.reshape(grid.shape))

        return Band(name, kind.array(1), WGS84, read)

    return Image([made(name, kind) for name, kind in band_types(collection).items()])


@algorithm("Image.arrayFlatten", keeps="image")
def flatten(image: Image, coordinateLabels: list[Any], separator: str) -> Image:
    """A band for each element of the arrays."""
    if len(image.bands) != 1:
        raise EarthEngineError(f"The image must have one band. Got {len(image.bands)}.")
    labels = [[str(name) for name in axis] if isinstance(axis, list) else [] for axis in coordinateLabels]
    shape = tuple(len(axis) for axis in labels)
    if not 1 <= int(np.prod(shape, dtype=np.int64)) <= _MAX_BANDS:
        raise EarthEngineError(f"Labels must be lists of names, for 1 to {_MAX_BANDS} bands in all.")
    band = _arrays(image.bands[0])

    def taken(position: tuple[int, ...]) -> Callable[[Array], Array]:
        def run(stack: Array) -> Array:
            if stack.shape[1:] != shape:
                raise EarthEngineError(
                    f"Array and labels must have the same shape. Got {list(stack.shape[1:])} and {list(shape)}."
                )
            return stacked.element(stack, position)

        return run

    places = itertools.product(*(range(n) for n in shape))
    names = (separator.join(parts) for parts in itertools.product(*labels))
    made = [
        array_band([band], taken(place), band.type.element).renamed(name)
        for place, name in zip(places, names, strict=True)
    ]
    return image.with_bands(made)


@algorithm("Image.arrayGet", keeps="image")
def get(image: Image, position: Image) -> Image:
    """The number at a position."""
    made = [
        array_band(
            [_arrays(band), *position.bands], lambda a, *at: stacked.element(a, at), band.type.element
        )
        for band in image.bands
    ]  # fmt: skip
    return image.bare(made)


@algorithm("Image.arraySlice", keeps="input")
def slice_arrays(input: Image, axis: int, start: Image | None, end: Image | None, step: int) -> Image:
    """A part along an axis; the ends may differ from pixel to pixel."""
    limits = [bound.bands for bound in (start, end) if bound is not None]

    def run(stack: Array, *bounds: Array) -> Array:
        ends = np.stack(bounds, axis=-1).astype(np.int64) if bounds else np.zeros((len(stack), 0), np.int64)
        if (ends == ends[:1]).all():
            return stacked.cut(stack, axis, *_ends(ends[0]), step)
        return stacked.ragged(stacked.cut(stack[i : i + 1], axis, *_ends(pair), step)[0] for i, pair in enumerate(ends))

    def _ends(pair: Array) -> tuple[int, int | None]:
        found = [int(n) for n in pair]
        return (found[0] if start is not None else 0), (found[-1] if end is not None else None)

    bands = []
    for i, band in enumerate(input.bands):
        chosen = [of[0] if len(of) == 1 else of[min(i, len(of) - 1)] for of in limits if of]
        bands.append(array_band([_arrays(band), *chosen], run, band.type))
    return input.bare(bands)


@algorithm("Image.arrayCat", keeps="image1")
def cat(image1: Image, image2: Image, axis: int) -> Image:
    """The arrays of two images one after the other along an axis, for each pair of bands."""

    def made(a: Band, b: Band) -> Band:
        most = max(a.type.dimensions, b.type.dimensions, axis + 1)
        kind = union_type(a.type.element, b.type.element)
        return array_band([a, b], lambda x, y: stacked.cat(axis, x, y), kind.array(most))

    return image1.bare([made(a, b) for a, b in pair_bands(image1, image2)])


@algorithm("Image.arrayProject", keeps="input")
def project(input: Image, axes: list[Any]) -> Image:
    """Some of the axes."""
    return each_band(input, lambda a: stacked.project(a, axes), lambda kind: kind.array(len(axes)))


@algorithm("Image.arrayReduce", keeps="input")
def reduce(input: Image, reducer: Reducer, axes: list[Any], fieldAxis: int | None) -> Image:
    """A reducer along axes, which keep a length of 1."""

    def kind(of: PixelType) -> PixelType:
        found = _together(reducer.output_types([of.element] * reducer.inputs))
        return found.array(max(of.dimensions, (fieldAxis or 0) + 1))

    return each_band(input, lambda a: stacked.reduced(a, reducer, axes, fieldAxis), kind)


@algorithm("Image.arrayAccum", keeps="input")
def accumulate(input: Image, axis: int, reducer: Reducer | None) -> Image:
    """At each position the reduction (the sum) of all positions up to it."""

    def kind(of: PixelType) -> PixelType:
        found = reducer.output_types([of.element])[0] if reducer else of.element.unbounded()
        return found.array(of.dimensions)

    return each_band(input, lambda a: stacked.accumulated(a, axis, reducer), kind)


@algorithm("Image.arraySort", keeps="image")
def sort(image: Image, keys: Image | None) -> Image:
    """Sorted along one axis, by its own values or by keys."""
    pairs = [(band, band) for band in image.bands] if keys is None else pair_bands(image, keys)
    return image.bare([array_band([_arrays(a), k], stacked.ordered, a.type) for a, k in pairs])


@algorithm("Image.arrayMask", keeps="input")
def mask(input: Image, mask: Image) -> Image:
    """Positions where a mask is not 0."""
    return input.bare([array_band([_arrays(a), m], stacked.masked, a.type) for a, m in pair_bands(input, mask)])


@algorithm("Image.arrayPad", keeps="image")
def pad(image: Image, lengths: list[Any], pad: float) -> Image:
    """Each axis at least so long."""
    return each_band(image, lambda a: stacked.pad(a, lengths, pad), lambda kind: kind.unbounded())


@algorithm("Image.arrayRepeat", keeps="input")
def repeat(input: Image, axis: int, copies: Image) -> Image:
    """The whole array several times along an axis."""

    def run(stack: Array, times: Array) -> Array:
        if (times == times[:1]).all():
            return stacked.repeat(stack, axis, int(times[0]))
        return stacked.ragged(stacked.repeat(stack[i : i + 1], axis, int(n))[0] for i, n in enumerate(times))

    bands = [
        array_band([a, n], run, a.type.array(max(a.type.dimensions, axis + 1))) for a, n in pair_bands(input, copies)
    ]
    return input.bare(bands)


@algorithm("Image.arrayReshape", keeps="image")
def reshape(image: Image, lengths: Image, dimensions: int) -> Image:
    """The same numbers in another shape, which may differ from pixel to pixel."""

    def run(stack: Array, wanted: Array) -> Array:
        shapes = wanted.astype(np.int64).reshape(len(stack), -1)
        if shapes.shape[1] != dimensions:
            raise EarthEngineError(f"There must be {dimensions} lengths. Got {shapes.shape[1]}.")
        return stacked.ragged(stacked.reshape(stack[i : i + 1], row.tolist())[0] for i, row in enumerate(shapes))

    by = lengths.bands[0]
    return image.bare([array_band([_arrays(band), by], run, band.type.array(dimensions)) for band in image.bands])


@algorithm("Image.arrayTranspose", "Image.matrixTranspose", keeps="input")
def transpose(input: Image, axis1: int, axis2: int) -> Image:
    """Two axes swapped."""
    return each_band(
        input,
        lambda a: stacked.transpose(a, axis1, axis2),
        lambda kind: kind.array(max(kind.dimensions, axis1 + 1, axis2 + 1)),
    )


@algorithm("Image.arrayArgmax", keeps="image")
def argmax(image: Image) -> Image:
    """The position of the largest element, the first of several."""
    return each_band(image, stacked.largest, lambda kind: _LENGTH.array(1))


@algorithm("Image.arrayDotProduct", keeps="image1")
def dot_product(image1: Image, image2: Image) -> Image:
    """The sum of products of arrays of one dimension."""

    def run(a: Array, b: Array) -> Array:
        if a.ndim != 2 or a.shape != b.shape:
            raise EarthEngineError("Both arrays must have one dimension and the same length.")
        return np.asarray((a * b).sum(axis=1))

    pairs = pair_bands(image1, image2)
    return image1.bare([array_band([a, b], run, CASTS["double"]) for a, b in pairs])


@algorithm("Image.arrayDimensions", keeps="input")
def dimensions(input: Image) -> Image:
    """The number of dimensions of each band's arrays, 0 for numbers."""

    def run(stack: Array) -> Array:
        return np.full(len(stack), stack.ndim - 1, np.uint8)

    return input.bare([array_band([band], run, CASTS["uint8"]) for band in input.bands])


@algorithm("Image.arrayLength", keeps="input")
def length(input: Image, axis: int) -> Image:
    """The length of each array along an axis."""

    def run(stack: Array) -> Array:
        return np.full(len(stack), stack.shape[stacked.checked_axis(axis, stack.ndim - 1)], np.int32)

    return each_band(input, run, lambda kind: _LENGTH)


@algorithm("Image.arrayLengths", keeps="input")
def lengths(input: Image) -> Image:
    """The length of each axis of each array."""

    def run(stack: Array) -> Array:
        return np.tile(np.array(stack.shape[1:], np.int32), (len(stack), 1))

    return each_band(input, run, lambda kind: _LENGTH.array(1))


@algorithm("Image.bitsToArrayImage", keeps="input")
def bits_to_array(input: Image) -> Image:
    """The bits of whole numbers, the least first."""
    return input.bare([array_band([band], stacked.bits, CASTS["uint8"].array(1)) for band in input.bands])


@algorithm("Image.matrixIdentity")
def identity(size: int) -> Image:
    """Ones on the diagonal at every pixel."""
    if not 1 <= size <= 256:
        raise EarthEngineError(f"Size must be from 1 to 256. Got {size}.")
    one = constant_band("identity", 1, CASTS["uint8"])
    made = array_band([one], lambda s: np.tile(np.eye(size, dtype=np.uint8), (len(s), 1, 1)), CASTS["uint8"].array(2))
    return Image([made])


def _together(kinds: Sequence[PixelType]) -> PixelType:
    if not kinds:
        raise EarthEngineError("No bands in collection.")
    result = kinds[0].element
    for kind in kinds[1:]:
        result = union_type(result, kind.element)
    return result
