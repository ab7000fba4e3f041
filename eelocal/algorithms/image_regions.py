"""Image: statistics and samples over regions."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from eelocal.algorithms.collection import working_projection
from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.fitting import snapped
from eelocal.grid import Pixels, apply
from eelocal.lattice import Cells, blocks, choose_cells, covered_cells
from eelocal.limits import MAX_LENGTH
from eelocal.registry import algorithm
from eelocal.values.collection import Collection, of_elements
from eelocal.values.element import Feature
from eelocal.values.filter import Query
from eelocal.values.geometry import Geometry
from eelocal.values.image import Band, Image
from eelocal.values.projection import Projection
from eelocal.values.reducer import Reducer

_MAX_RECTANGLE = 262_144  # recorded/errors.json
_MAX_SAMPLES = 1_000_000


@algorithm("Image.reduceRegion")
def reduce_region(
    image: Image,
    reducer: Reducer,
    geometry: Geometry | None,
    scale: float | None,
    crs: Projection | None,
    crsTransform: list[Any] | None,
    bestEffort: bool,
    maxPixels: int,
    tileScale: float,
) -> dict[str, Any]:
    """A reducer over the pixels of a region. Pixels at the edge count by the part inside, where the reducer weighs."""
    region = region_of(geometry, image)
    projection = region_projection(image, crs, crsTransform, scale)
    cells, weights = _weighted_cells(region, projection, reducer)
    if cells.count > maxPixels and bestEffort:
        factor = math.sqrt(cells.count / max(maxPixels, 1)) * 1.01
        projection = projection.at_scale(projection.nominal_scale * factor)
        cells, weights = _weighted_cells(region, projection, reducer)
    if cells.count > maxPixels:
        raise EarthEngineError(
            f"Too many pixels in the region. Found {cells.count}, but maxPixels allows only {maxPixels}. "
            "Ensure that you are not aggregating at a higher resolution than you intended; that is the most "
            "frequent cause of this error. If not, then you may set the 'maxPixels' argument to a limit suitable "
            "for your computation; set 'bestEffort' to true to aggregate at whatever scale results in 'maxPixels' "
            "total pixels; or both."
        )
    return reduced(image.bands, reducer, read_cells(image.bands, cells, projection), weights)


@algorithm("Image.reduceRegions")
def reduce_regions(
    image: Image,
    collection: Collection,
    reducer: Reducer,
    scale: float | None,
    crs: Projection | None,
    crsTransform: list[Any] | None,
    tileScale: float,
    maxPixelsPerRegion: int | None,
) -> Collection:
    """A reducer over the pixels of every feature; results are added to its properties."""
    projection = region_projection(image, crs, crsTransform, scale)
    single = len(image.bands) == 1

    def source(query: Query) -> Iterator[Any]:
        for feature in collection.elements(query):
            region = region_of(feature.geometry, image)
            cells, weights = _weighted_cells(region, projection, reducer)
            found = reduced(image.bands, reducer, read_cells(image.bands, cells, projection), weights)
            # With one band the properties are the reducer's outputs.
            names = reducer.outputs if single and reducer.inputs == 1 else found.keys()
            yield feature.set(**dict(zip(names, found.values(), strict=True)))

    return collection.like(source)


@algorithm("Image.sample")
def sample(
    image: Image,
    region: Geometry | None,
    scale: float | None,
    projection: Projection | None,
    factor: float | None,
    numPixels: int | None,
    seed: int,
    dropNulls: bool,
    tileScale: float,
    geometries: bool,
) -> Collection:
    """Pixels as features, all of a region or some by chance."""
    target = region_projection(image, projection, None, scale)
    cells = choose_cells(region_of(region, image), target)
    if factor is not None and numPixels is not None:
        raise EarthEngineError("Cannot specify both factor and numPixels.")
    wanted = int(cells.count * factor) if factor is not None else numPixels
    if wanted is not None and wanted < cells.count:
        chosen = np.array(sorted(random.Random(seed).sample(range(cells.cols.size), wanted)), int)
        cells = Cells(cells.cols[chosen], cells.rows[chosen])
    found = _features(image, cells, target, {}, geometries=geometries)
    kept = [f for f in found if not dropNulls or all(f.get(name) is not None for name in image.names)]
    return of_elements(kept, "FeatureCollection")


@algorithm("Image.sampleRegions")
def sample_regions(
    image: Image,
    collection: Collection,
    properties: list[Any] | None,
    scale: float | None,
    projection: Projection | None,
    tileScale: float,
    geometries: bool,
) -> Collection:
    """The pixels of every feature, with its properties; those with a masked band are left out."""
    target = region_projection(image, projection, None, scale)
    result = []
    for feature in collection.elements():
        names = [n for n in feature.properties if n != "system:index"] if properties is None else properties
        kept = {name: feature.get(name) for name in names}
        cells = choose_cells(region_of(feature.geometry, image), target)
        for number, found in enumerate(_features(image, cells, target, kept, geometries=geometries)):
            if all(found.get(name) is not None for name in image.names):
                result.append(found.set(**{"system:index": f"{feature.index}_{number}"}))
    return of_elements(result, "FeatureCollection")


@algorithm("Image.stratifiedSample")
def stratified_sample(
    image: Image,
    numPoints: int,
    classBand: str | None,
    region: Geometry | None,
    scale: float | None,
    projection: Projection | None,
    seed: int,
    classValues: list[Any] | None,
    classPoints: list[Any] | None,
    dropNulls: bool,
    tileScale: float,
    geometries: bool,
) -> Collection:
    """So many pixels by chance of each class, as features."""
    target = region_projection(image, projection, None, scale)
    name = image.names[0] if classBand is None else classBand
    if name not in image.names:
        raise EarthEngineError(f"Band '{name}' is not among the bands: [{', '.join(image.names)}].")
    if len(classValues or []) != len(classPoints or []):
        raise EarthEngineError("classValues and classPoints must have the same size.")
    wanted = dict(zip(classValues or [], classPoints or [], strict=True))
    cells = choose_cells(region_of(region, image), target)
    found = _features(image, cells, target, {}, geometries=geometries)
    kept = [f for f in found if not dropNulls or all(f.get(band) is not None for band in image.names)]
    classes: dict[Any, list[Feature]] = {}
    for feature in kept:
        if feature.get(name) is not None:
            classes.setdefault(feature.get(name), []).append(feature)
    chance = random.Random(seed)
    chosen: list[Feature] = []
    for value, members in sorted(classes.items()):
        number = wanted.get(value, numPoints)
        chosen += members if len(members) <= number else chance.sample(members, number)
    return of_elements(chosen, "FeatureCollection")


@algorithm("Image.sampleRectangle")
def sample_rectangle(
    image: Image,
    region: Geometry | None,
    properties: list[Any] | None,
    defaultValue: float | None,
    defaultArrayValue: Any,
) -> Feature:
    """Each band as a two-dimensional list over the bounds of a region, in its own projection, top row first."""
    place = region_of(region, image)
    names = properties if properties is not None else [n for n in image.properties if not n.startswith("system:")]
    found: dict[str, Any] = {name: image.get(name) for name in names}
    for band in image.bands:
        found[band.name] = _rectangle(band, place, defaultValue)
    return Feature(place, found)


def region_projection(
    image: Image, crs: Projection | None, transform: Sequence[Any] | None, scale: float | None
) -> Projection:
    """The projection to work in: the one given, or that of the first band."""
    if not image.bands:
        raise EarthEngineError("The image has no bands.")
    base = crs or image.bands[0].projection
    if crs is None and scale is None and transform is None and _is_default(image.bands[0]):
        raise EarthEngineError(
            "The default WGS84 projection is invalid for aggregations. Specify a scale or crs & crs_transform."
        )
    return working_projection(base, transform, scale)


def read_cells(bands: Sequence[Band], cells: Cells, projection: Projection) -> list[Pixels]:
    """Values and validity of every band, one for each cell."""
    found = [Pixels(np.zeros(cells.count, b.type.dtype), np.zeros(cells.count, bool)) for b in bands]
    for block in blocks(cells, projection):
        for band, (values, valid) in zip(bands, found, strict=True):
            pixels = band.pixels(block.grid)
            values[block.index] = pixels.values[block.rows, block.cols]
            valid[block.index] = pixels.valid[block.rows, block.cols]
    return found


def reduced(
    bands: Sequence[Band], reducer: Reducer, found: Sequence[Pixels], weights: NDArray[np.float64]
) -> dict[str, Any]:
    """Outputs by name: `band` or `band_output` for reducers of one input, else the outputs alone."""
    if reducer.inputs > 1:
        if reducer.inputs != len(bands):
            raise EarthEngineError(f"The reducer needs {reducer.inputs} bands. Got {len(bands)}.")
        return _outputs(reducer, found, weights)
    result: dict[str, Any] = {}
    for band, pixels in zip(bands, found, strict=True):
        for name, value in _outputs(reducer, [pixels], weights).items():
            result[band.name if len(reducer.outputs) == 1 else f"{band.name}_{name}"] = value
    return result


def _outputs(reducer: Reducer, stacks: Sequence[Pixels], weights: NDArray[np.float64]) -> dict[str, Any]:
    if reducer.reduce is None or any(stack.values.dtype == object for stack in stacks):
        valid = np.logical_and.reduce([stack.valid for stack in stacks])
        if np.count_nonzero(valid) > MAX_LENGTH:
            raise OutOfMemory
        columns = [stack.values[valid].tolist() for stack in stacks]
        return reducer.rows(list(zip(*columns, strict=True)))
    if not weights.size:
        return {name: _nothing(name) for name in reducer.outputs}
    doubles = [Pixels(stack.values.astype(np.float64), stack.valid) for stack in stacks]
    results = reducer.reduce(doubles, weights if reducer.weighted else None)
    pairs = zip(reducer.outputs, results, strict=True)
    return {name: pixels.values.item() if bool(pixels.valid) else _nothing(name) for name, pixels in pairs}


def _nothing(output: str) -> int | None:
    """What a reducer gives for no pixel at all."""
    return 0 if output in ("count", "sum") else None


def _weighted_cells(region: Geometry, projection: Projection, reducer: Reducer) -> tuple[Cells, NDArray[np.float64]]:
    if reducer.weighted:
        return covered_cells(region, projection)
    cells = choose_cells(region, projection)
    return cells, np.ones(cells.cols.size)


def region_of(geometry: Geometry | None, image: Image) -> Geometry:
    """The region given, or the image's footprint, which must have an end."""
    place = geometry or image.geometry
    if place is None or place.unbounded:
        raise EarthEngineError("A region must be given for an image without bounds.")
    return place


def _is_default(band: Band) -> bool:
    return band.dimensions is None and band.projection == Projection("EPSG:4326")


def _features(
    image: Image, cells: Cells, projection: Projection, properties: dict[str, Any], *, geometries: bool
) -> list[Feature]:
    if cells.count > _MAX_SAMPLES:
        raise OutOfMemory
    found = read_cells(image.bands, cells, projection)
    columns = [_column(pixels) for pixels in found]
    places = _centres(cells, projection) if geometries else [None] * cells.count
    return [
        Feature(place, {**properties, **dict(zip(image.names, row, strict=True))})
        for place, row in zip(places, zip(*columns, strict=True) if columns else [], strict=False)
    ]


def _column(pixels: Pixels) -> list[Any]:
    listed: list[Any] = pixels.values.tolist()
    return [v if ok else None for v, ok in zip(listed, pixels.valid.tolist(), strict=True)]


def _centres(cells: Cells, projection: Projection) -> list[Geometry]:
    x, y = apply(projection.transform, cells.cols + 0.5, cells.rows + 0.5)
    points = shapely.points(x, y)
    made = [Geometry(point, projection.crs) for point in points]
    return made if projection.crs == "EPSG:4326" else [Geometry(point.lonlat) for point in made]


def _rectangle(band: Band, place: Geometry, default: float | None) -> list[Any]:
    grid = snapped(band.projection, place.in_crs(band.projection.crs).bounds)
    if grid.width * grid.height > _MAX_RECTANGLE:
        raise EarthEngineError(
            f"Too many pixels in sample; must be <= {_MAX_RECTANGLE}. Got {grid.width * grid.height}."
        )
    pixels = band.pixels(grid)
    if pixels.valid.all():
        return list(pixels.values.tolist())
    if default is None:
        raise EarthEngineError(
            f"Fully or partially masked pixels in band '{band.name}': set defaultValue to fill them."
        )
    return list(np.where(pixels.valid, pixels.values, default).tolist())
