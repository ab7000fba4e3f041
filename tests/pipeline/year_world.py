"""Sentinel-2 over some fields as Earth Engine shows it week by week, and what then has to be on disk.

Scenes come late, are reprocessed under their name, or come a second time under another. What products should hold is
worked out here from the stored pixels, with numpy and without a request.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyproj
import shapely

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
BANDS = ["B4", "B8"]
CLOUD = [3, 8, 9, 10]
MOST_CLOUD, LEAST_VALID = 0.6, 0.9
ADDED, TWICE = 7, 3  # to the pixels of reprocessed scenes, and of those that come again under another name
KINDS = {
    "kept": {"sync": {"replaced": "keep"}},
    "near": {},  # its area overlaps that of the field before
    "day": {"product": {"kind": "day"}, "transport": "compute_pixels"},
    "month": {"product": {"kind": "composite", "every": "month", "method": "median"}},
    "clear": {
        "clouds": {"method": "scl", "max_fraction": MOST_CLOUD, "classes": CLOUD},
        "product": {"min_valid_fraction": LEAST_VALID},
    },
}


@dataclass(frozen=True)
class Shown:
    """A stored scene as it is shown: under a name, in a version, with something added to its reflectance."""

    stored: object
    index: str
    version: int
    added: int
    produced: int

    @property
    def id(self):
        return f"{COLLECTION}/{self.index}"

    @property
    def properties(self):
        return dict(self.stored.properties) | {"system:index": self.index, "GENERATION_TIME": self.produced}

    @property
    def footprint(self):
        return self.stored.footprint

    @property
    def bands(self):
        return self.stored.bands

    def read(self, band, *window):
        values, valid = self.stored.read(band, *window)
        return (values + values.dtype.type(self.added) if band in BANDS else values), valid

    @property
    def time(self):
        return datetime.fromtimestamp(self.stored.properties["system:time_start"] / 1000, UTC)

    def at(self, band, transform, shape):
        """Its values at the centres of a grid's pixels, (height, width), NaN where it has none."""
        stored = next(found for found in self.bands if found.name == band)
        size, _, left, _, _, top = stored.transform
        cols = np.floor((transform.c + (np.arange(shape[1]) + 0.5) * transform.a - left) / size).astype(int)
        rows = np.floor((top - transform.f - (np.arange(shape[0]) + 0.5) * transform.e) / size).astype(int)
        values, valid = self.read(band, 0, cols[0], rows[0], np.ptp(cols) + 1, np.ptp(rows) + 1)
        return np.where(valid, values.astype(float), np.nan)[np.ix_(rows - rows[0], cols - cols[0])]


@dataclass
class Acquisition:
    """When a stored scene is first shown, when it is reprocessed, and when it comes again under another name."""

    stored: object
    appears: int
    reprocessed: int | None = None
    again: int | None = None

    def shown(self, week):
        """As what it is shown in a week."""
        index, produced = self.stored.properties["system:index"], self.stored.properties["GENERATION_TIME"]
        first = Shown(self.stored, index, self.stored.version, 0, produced)
        if self.appears <= week:
            changed = self.reprocessed is not None and self.reprocessed <= week
            yield dataclasses.replace(first, version=first.version + 1000, added=ADDED) if changed else first
        if self.again is not None and self.again <= week:
            took, _, tile = index.split("_")
            twin = f"{took}_{took[:9]}235959_{tile}"
            yield Shown(self.stored, twin, self.stored.version + 500, TWICE, produced + 86_400_000)


class Archive:
    """The collection; `week` says what it shows of a season, and scenes of other times are not there."""

    def __init__(self, collection, areas, start, end, dice):
        self.id, self.properties, self._collection = collection.id, collection.properties, collection
        self.week, self.weeks = 0, (end - start).days // 7
        period = [(day - date(1970, 1, 1)).days * 86_400_000 for day in (start, end)]
        stored = {image.id: image for area in areas for image in collection.search(*period, area)}
        self.acquisitions = {image: self._draw(stored[image], start, dice) for image in sorted(stored)}
        # However the dice fall, there is one of each at each place, and of the first one all at once.
        for tile in sorted({image[-6:] for image in stored}):
            first, second, third, *_ = (a for image, a in self.acquisitions.items() if image.endswith(tile))
            first.appears, first.reprocessed, first.again = 0, 1, 2
            second.appears, third.appears, third.again = 2, 1, 2

    def _draw(self, stored, start, dice):
        taken = datetime.fromtimestamp(stored.properties["system:time_start"] / 1000, UTC).date()
        last = self.weeks - 1
        appears = min((taken - start).days // 7 + dice.choice([0, 0, 0, 0, 1, 3]), last)
        reprocessed, again = (min(appears + dice.randint(1, 4), last) for _ in range(2))
        drawn = dice.random()
        return Acquisition(
            stored,
            appears,
            reprocessed if drawn < 0.2 and reprocessed > appears else None,
            again if 0.1 < drawn < 0.25 and again > appears else None,
        )

    def shown(self, week=None):
        """All scenes that there are in a week."""
        week = self.week if week is None else week
        return sorted(itertools.chain(*(a.shown(week) for a in self.acquisitions.values())), key=lambda s: s.id)

    def search(self, _start, _end, region):
        yield from (scene for scene in self.shown() if region is None or scene.footprint.intersects(region))

    def get(self, index):
        return next((scene for scene in self.shown() if scene.index == index), None)


@dataclass(frozen=True)
class Field:
    """One job: an area in degrees, and a kind of product."""

    name: str
    kind: str
    bounds: tuple[float, float, float, float]

    @classmethod
    def number(cls, number):
        kind = list(KINDS)[number % len(KINDS)]
        # Where granules and orbits overlap, a day has several scenes.
        west = (4.43 if kind == "day" else 4.0) + 0.004 * number - (0.003 if kind == "near" else 0)
        return cls(f"field{number:02d}", kind, (west, 50.70, west + 0.002, 50.701))

    @property
    def area(self):
        return shapely.box(*self.bounds)

    @property
    def job(self):
        return {"name": self.name, "aoi": {"bbox": list(self.bounds)}, "workload_tag": self.name, **KINDS[self.kind]}

    def products(self, scenes):
        """The scenes that each product is made of, in the order they are merged."""
        there = sorted((s for s in scenes if s.footprint.intersects(self.area)), key=lambda s: (s.time, s.index))
        if self.kind not in ("day", "month"):
            return [(scene,) for scene in there]
        newest = {}
        for scene in sorted(there, key=lambda s: s.produced):
            newest[scene.time, scene.index[-6:]] = scene
        period = (lambda s: f"{s.time:%Y%m}") if self.kind == "month" else (lambda s: f"{s.time:%Y%m%d}")
        ordered = sorted(newest.values(), key=lambda s: (s.time, s.index))
        return [tuple(group) for _, group in itertools.groupby(ordered, period)]

    def cloud(self, scene):
        """Share of the area that is cloud, by the centres of the scene's class pixels; None where it has none."""
        band = next(found for found in scene.bands if found.name == "SCL")
        size, _, left, _, _, top = band.transform
        move = pyproj.Transformer.from_crs("EPSG:4326", band.crs, always_xy=True).transform
        outline = shapely.transform(self.area.segmentize(1e-4), move, interleaved=False)
        west, south, east, north = outline.bounds
        cols = np.arange((west - left) // size, (east - left) // size + 1)
        rows = np.arange((top - north) // size, (top - south) // size + 1)
        x, y = np.meshgrid(left + (cols + 0.5) * size, top - (rows + 0.5) * size)
        values, valid = scene.read("SCL", 0, int(cols[0]), int(rows[0]), len(cols), len(rows))
        seen = valid & shapely.contains_xy(outline, x, y)
        return np.isin(values, CLOUD)[seen].mean() if seen.any() else None

    def pixels(self, scenes, transform, shape):
        """What a product of these scenes holds on a grid: (band, height, width), NaN where masked."""
        layers = np.stack([[scene.at(band, transform, shape) for band in BANDS] for scene in scenes])
        if self.kind == "clear":
            layers[:, :, np.isin(scenes[0].at("SCL", transform, shape), CLOUD)] = np.nan
        if self.kind == "month":
            with np.errstate(all="ignore"):
                return np.nanmedian(layers, axis=0)
        merged = layers[0]
        for layer in layers[1:]:
            merged = np.where(np.isnan(layer), merged, layer)
        return merged
