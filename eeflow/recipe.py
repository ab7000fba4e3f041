"""What is made of scenes on Earth Engine's side before their pixels are read: masks, indices, merging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ee
import numpy as np

from eeflow.clouds import CloudFlag, cloudy, score
from eeflow.config import Job
from eeflow.errors import ConfigError
from eeflow.images import Image
from eeflow.indices import Index, named_index, parse_index
from eeflow.options import Clouds
from eeflow.presets import band_preset, preset_for, usual_bands
from eeflow.scenes import Scene, band_dtype, choose_bands

# Merging by these gives values that no scene has.
_AVERAGES = ("median", "mean")


@dataclass(frozen=True)
class Recipe:
    """How an image is made of its scenes.

    Attributes:
        made: bands that are worked out from the scene's own.
        clouds: how the pixels to mask are told; None to mask none.
        merging: how several scenes become one image; None where each image is one scene.
        score: the band of Cloud Score+ that tells the best pixel; None where none is looked for.
        resampling: how pixels between a band's own are taken.
        smooth: bands that are resampled so; the others by the nearest pixel.
    """

    made: tuple[Index | CloudFlag, ...] = ()
    clouds: Clouds | None = None
    merging: str | None = None
    score: str | None = None
    resampling: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    smooth: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether scenes are read as they are."""
        return self == PLAIN

    @property
    def content(self) -> list[Any]:
        """What decides the pixels, for hashes."""
        made = [[type(band).__name__, repr(band)] for band in self.made]
        clouds = self.clouds.model_dump(exclude={"max_fraction", "mask"}) if self.clouds else None
        return [made, clouds, self.merging, self.score, self.resampling, self.smooth]

    def inputs(self, name: str) -> tuple[str, ...]:
        """The scene's own bands that a band comes from: itself, unless it is made."""
        return next((band.inputs for band in self.made if band.name == name), (name,))

    def own(self, names: Sequence[str]) -> list[str]:
        """The scene's own bands that bands come from."""
        return list(dict.fromkeys(own for name in names for own in self.inputs(name)))

    def dtype(self, name: str, scenes: Sequence[Scene]) -> str:
        """The numpy dtype that holds the band of every image."""
        if self.merging in _AVERAGES:
            return "float64"
        made = next((band for band in self.made if band.name == name), None)
        if made is not None:
            return "uint8" if isinstance(made, CloudFlag) else "float32"
        own = band_dtype(name, scenes)
        return _smooth_dtype(own) if name in self.smooth else str(own)

    def image(self, source: str, image: Image, bands: Sequence[str]) -> ee.Image:
        """An image of a collection in some bands, in that order.

        Args:
            source: asset id of the collection.
            image: its scenes.
            bands: names.
        """
        if self.merging is None:
            (scene,) = image.scenes
            return self._scene(ee.Image(f"{source}/{scene.scene_id}"), scene, bands).select(list(bands))
        scenes = [self._scene(ee.Image(f"{source}/{scene.scene_id}"), scene, bands) for scene in image.scenes]
        return self._merge(ee.ImageCollection.fromImages(scenes), bands).select(list(bands))

    def single(self, source: str, image: Image, bands: Sequence[str]) -> ee.Image:
        """The same of an image that is in no collection."""
        return self._scene(ee.Image(source), image.scenes[0], bands).select(list(bands))

    def _scene(self, source: ee.Image, scene: Scene, bands: Sequence[str]) -> ee.Image:
        """A scene with the bands that are wanted, and what merging needs besides."""
        made = [band for band in self.made if band.name in bands]
        own = [name for name in bands if name not in {band.name for band in made}]
        image = source.select(own) if own else source.select([scene.bands[0].name])
        if self.smooth:
            image = self._smoothed(image, own, scene)
        for band in made:
            image = image.addBands(self._made(band, source, scene))
        if self.clouds is not None:
            image = image.updateMask(cloudy(source, scene.scene_id, self.clouds).Not())
        image = image.select(list(bands))
        if self.score is None:
            return image
        # One for each band, known where the band is: so the best pixel of a band is its best valid one.
        scores = ee.Image.cat([score(scene.scene_id, self.score)] * len(bands))
        return image.addBands(scores.rename([_quality(name) for name in bands]).updateMask(image.mask()))

    def _smoothed(self, image: ee.Image, own: Sequence[str], scene: Scene) -> ee.Image:
        bands = []
        for name in own:
            band = image.select([name])
            if name in self.smooth:
                double = _smooth_dtype(np.dtype(scene.band(name).dtype)) == "float64"
                band = (band.toDouble() if double else band.toFloat()).resample(self.resampling)
            bands.append(band)
        return ee.Image.cat(bands) if bands else image

    def _made(self, band: Index | CloudFlag, source: ee.Image, scene: Scene) -> ee.Image:
        if isinstance(band, CloudFlag):
            return cloudy(source, scene.scene_id, band.clouds).toUint8().rename([band.name])
        inputs = source.select(list(band.inputs))
        return band.image(self._smoothed(inputs, band.inputs, scene) if self.smooth else inputs)

    def _merge(self, scenes: ee.ImageCollection, bands: Sequence[str]) -> ee.Image:
        if self.score is not None:
            best = [scenes.select([name, _quality(name)]).qualityMosaic(_quality(name)) for name in bands]
            return ee.Image.cat([image.select([name]) for image, name in zip(best, bands, strict=True)])
        if self.merging in ("mosaic", "least_cloudy"):
            return scenes.mosaic()
        merged = getattr(scenes, str(self.merging))()
        return merged.toDouble() if self.merging in _AVERAGES else merged


PLAIN = Recipe()


def make_recipe(job: Job, scenes: Sequence[Scene]) -> tuple[list[str], Recipe]:
    """The names of a job's bands, and how they are made.

    Raises:
        ConfigError: a band, index or way to tell cloud that these scenes do not have.
    """
    source = str(job.image or job.collection)
    names, made = _bands(job, source, scenes)
    clouds = job.clouds if job.clouds.method != "none" and job.clouds.mask else None
    smooth: tuple[str, ...] = ()
    if job.grid.resampling != "nearest":
        inputs = {name: None for band in made for name in band.inputs} | dict.fromkeys(names)
        own = [name for name in inputs if name not in {band.name for band in made}]
        smooth = tuple(name for name in own if _is_continuous(source, name, scenes))
    merging = job.product.merging if job.image is None else None
    best = job.clouds.score if merging == "best_pixel" else None
    return names, Recipe(tuple(made), clouds, merging, best, job.grid.resampling if smooth else "nearest", smooth)


def averaged_classes(job: Job, scenes: Sequence[Scene]) -> list[str]:
    """What people should know of a job that averages numbers which are no amounts; empty for others."""
    names, recipe = make_recipe(job, scenes)
    if recipe.merging not in _AVERAGES:
        return []
    made = {band.name for band in recipe.made}
    odd = [name for name in names if name not in made and not _is_continuous(str(job.collection), name, scenes)]
    if not odd:
        return []
    return [
        f"product.method is {recipe.merging}, and {', '.join(odd)} holds classes or flags, of which a {recipe.merging} "
        "is none; mosaic, least_cloudy and best_pixel keep them as they are."
    ]


def _bands(job: Job, source: str, scenes: Sequence[Scene]) -> tuple[list[str], list[Index]]:
    if not job.bands:
        return usual_bands(source, scenes), []
    preset = preset_for(source)
    own = {band.name for band in scenes[0].bands}
    names: list[str] = []
    made: list[Index] = []
    for text in job.bands:
        index = parse_index(text)
        if index is None and text not in own:
            index = named_index(text, preset.common_names if preset else {}, preset.scaling if preset else None)
        if index is None:
            names += [name for name in choose_bands([text], scenes) if name not in names]
            continue
        choose_bands(index.inputs, scenes)  # raises for one that is not there
        if index.name in own or index.name in names:
            raise ConfigError(f"bands has {text!r}, but there is a band {index.name} already; give it another name.")
        names.append(index.name)
        made.append(index)
    return names, made


def _is_continuous(source: str, name: str, scenes: Sequence[Scene]) -> bool:
    return band_preset(source, name, str(band_dtype(name, scenes))).kind in (None, "continuous")


def _quality(name: str) -> str:
    return f"{name}_quality"


def _smooth_dtype(own: np.dtype[Any]) -> str:
    return str(np.result_type(own, np.float32))
