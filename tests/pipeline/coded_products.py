"""What products need beyond single scenes, for the stand-in service: reducers, quality mosaics, indices.

Written from Earth Engine's own descriptions (those of the algorithms in the client's package), like the rest of the
stand-in; importing it makes the algorithms known.
"""

# ruff: noqa: N803

import dataclasses

import numpy as np
from coded_graph import _DOUBLE, UNIT, WGS84, Image, algorithm


def _stacked(images, name, points):
    """Values and validity of a band of every image that has it, shape (image, point): bands are matched by name."""
    sampled = [band.sample(points) for image in images if (band := image.band(name))]
    return np.stack([values for values, _ in sampled]), np.stack([valid for _, valid in sampled])


def _composite(collection, sample_of, data_type=None):
    """An image without a grid, footprint or properties of its own, with the bands of the first."""
    if not collection.elements:
        return Image({})
    bands = tuple(
        dataclasses.replace(
            band,
            data_type=data_type or band.data_type,
            crs=WGS84,
            transform=UNIT,
            dimensions=None,
            sample=sample_of(band.name),
        )
        for band in collection.elements[0].bands
    )
    return Image({}, bands=bands)


def _reducer(reduce, data_type=None):
    """A reducer over the values that are not masked; a pixel without any is masked."""

    def apply(collection):
        def sample_of(name):
            def sample(points):
                values, valid = _stacked(collection.elements, name, points)
                out = np.zeros(values.shape[1], values.dtype if data_type is None else np.float64)
                for count in np.unique(valid.sum(axis=0)):
                    chosen = valid.sum(axis=0) == count  # points with as many values: a table without holes
                    if count:
                        table = values[:, chosen].T[valid[:, chosen].T].reshape(-1, count)
                        out[chosen] = reduce(table)
                return out, valid.any(axis=0)

            return sample

        return _composite(collection, sample_of, data_type)

    return apply


def _median(table):
    """The middle value of each row, or the mean of the middle two."""
    table, count = np.sort(table.astype(float)), table.shape[1]
    return (table[:, (count - 1) // 2] + table[:, count // 2]) / 2


algorithm("reduce.median")(_reducer(_median, _DOUBLE))
algorithm("reduce.mean")(_reducer(lambda table: table.astype(float).sum(axis=1) / table.shape[1], _DOUBLE))
algorithm("reduce.min")(_reducer(lambda table: table.min(axis=1)))
algorithm("reduce.max")(_reducer(lambda table: table.max(axis=1)))


@algorithm("ImageCollection.qualityMosaic")
def quality_mosaic(collection, qualityBand):
    """Each pixel of the image whose quality is the highest there; those of masked quality do not count."""

    def sample_of(name):
        def sample(points):
            quality, known = _stacked(collection.elements, qualityBand, points)
            values, valid = _stacked(collection.elements, name, points)
            best = np.where(known, quality.astype(float), -np.inf).argmax(axis=0)[None]
            chosen = np.take_along_axis(valid & known, best, 0)[0]
            return np.take_along_axis(values, best, 0)[0], chosen

        return sample

    return _composite(collection, sample_of)


@algorithm("Image.normalizedDifference")
def normalized_difference(input, bandNames=None):
    """(first - second) / (first + second), masked where either is negative; division by 0 gives 0."""
    first, second = (input.band(name) for name in bandNames) if bandNames else input.bands[:2]

    def sample(points):
        (a, a_valid), (b, b_valid) = first.sample(points), second.sample(points)
        a, b = a.astype(float), b.astype(float)
        total = a + b
        values = np.divide(a - b, total, out=np.zeros(a.shape), where=total != 0)
        return values, a_valid & b_valid & (a >= 0) & (b >= 0)

    band = dataclasses.replace(first, name="nd", data_type={"type": "PixelType", "precision": "float"}, sample=sample)
    return Image({}, bands=(band,), geometry=input.geometry, covers=input.covers)


@algorithm("Image.abs")
def absolute(value):
    def positive(band):
        def sample(points):
            values, valid = band.sample(points)
            return np.abs(values), valid

        return dataclasses.replace(band, sample=sample)

    return dataclasses.replace(value, bands=tuple(positive(band) for band in value.bands))
