"""What is known of collections: bands, scales, units, classes, colours. One YAML file of the package, and the user's.

A collection without a preset works all the same: its bands keep their numbers, without scale, unit or colours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eeflow.config import Job
from eeflow.errors import ConfigError
from eeflow.jobfile import explain, read_yaml
from eeflow.options import Product
from eeflow.scenes import Scene, choose_bands
from eeflow.settings import load_settings

_PUBLIC = "projects/earthengine-public/assets/"
# Ten times as quick as the one in Python, where PyYAML was built with it.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Class(NamedTuple):
    """What one value of a band of classes stands for; the colour as `#rrggbb`, None where there is none."""

    name: str
    colour: _Colour | None = None


class BandPreset(_Model):
    """What is known of a band. A physical value is `stored * scale + offset`."""

    kind: Literal["continuous", "classes", "flags"] | None = Field(
        "continuous", description="What its numbers are; None where it is not known."
    )
    scale: float = 1.0
    offset: float = 0.0
    unit: str = Field("", description="Of the physical value.")
    common_name: str | None = Field(None, description="Its name in the list of spectral indices.")
    classes: dict[int, Class] = Field(default_factory=dict, description="What each value stands for.")
    nodata: int | None = Field(None, description="What stands for masked pixels, where no valid pixel has it.")
    range: tuple[float, float] | None = Field(None, description="Of pictures, in physical values.")
    palette: str | None = Field(None, description="Of pictures; one of `palettes`.")
    shaded: bool = Field(False, description="Whether pictures are lit from the north-west.")

    @property
    def is_scaled(self) -> bool:
        """Whether its physical values differ from what is stored."""
        return (self.scale, self.offset) != (1.0, 0.0)


class Picture(_Model):
    """Three bands that look like red, green and blue."""

    bands: tuple[str, str, str]
    range: tuple[float, float] | None = Field(None, description="Of all three, in physical values.")
    gamma: float = Field(1.0, gt=0, description="Above 1, dark parts are shown brighter.")


class ProductPreset(_Model):
    """What a product of the collection is, where the job does not say."""

    kind: Literal["scene", "day", "composite"]
    method: Literal["mosaic", "median", "mean", "min", "max"] | None = None


class Preset(_Model):
    """What is known of a collection or a single image."""

    title: str
    kind: Literal["optical", "radar", "vegetation", "temperature", "climate", "land cover", "elevation", "other"]
    image: bool = Field(False, description="Whether it is a single image, not a collection.")
    default_bands: tuple[str, ...] = Field((), description="Bands of a job that names none; empty: all.")
    bands: dict[str, BandPreset] = Field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    product: ProductPreset | None = None
    clouds: tuple[Literal["scl", "qa60", "cloud-score-plus", "qa_pixel"], ...] = ()
    note: str = ""
    unscaled: str | None = Field(None, description="Why its reflectances cannot be told from what is stored.")

    @model_validator(mode="after")
    def _known_bands(self) -> Self:
        lacking = [name for name in self.default_bands if self.bands and name not in self.bands]
        if lacking:
            raise ValueError(f"has default_bands {', '.join(lacking)}, which bands does not list")
        return self

    def band(self, name: str) -> BandPreset | None:
        """What is known of a band; None where nothing is."""
        band = self.bands.get(name)
        if band and self.unscaled and band.common_name:
            return band.model_copy(update={"scale": 1.0, "offset": 0.0})
        return band

    @property
    def common_names(self) -> dict[str, str]:
        """Bands by their names in the list of spectral indices."""
        return {band.common_name: name for name, band in self.bands.items() if band.common_name}

    @property
    def scaling(self) -> dict[str, tuple[float, float]] | None:
        """Scale and offset by band; None where reflectances cannot be told from what is stored."""
        return None if self.unscaled else {name: (band.scale, band.offset) for name, band in self.bands.items()}


class Presets(_Model):
    """The whole file."""

    palettes: dict[str, tuple[_Colour, ...]] = Field(default_factory=dict)
    indices: dict[str, BandPreset] = Field(default_factory=dict, description="Bands that are worked out, by name.")
    collections: dict[str, Preset] = Field(default_factory=dict, description="By asset id; * and [..] match parts.")

    @cached_property
    def _families(self) -> list[str]:
        """Ids, whole ones before patterns."""
        return sorted(self.collections, key=lambda asset_id: bool(re.search(r"[*?\[]", asset_id)))

    def preset(self, source: str) -> Preset | None:
        """The preset of a collection, of an image, or of the collection an image is in."""
        source = source.removeprefix(_PUBLIC)
        for asset_id in (source, source.rpartition("/")[0]):
            family = next((family for family in self._families if fnmatchcase(asset_id, family)), None)
            if family:
                return self.collections[family]
        return None


def preset_for(source: str) -> Preset | None:
    """What is known of a collection or image; None where nothing is.

    Raises:
        ConfigError: the user's file of presets cannot be read.
    """
    return presets().preset(source)


def band_preset(source: str, name: str, dtype: str) -> BandPreset:
    """What is known of a band of a collection, or of an index of that name.

    Of a band that no preset lists, floats are taken for continuous physical values; of whole numbers nothing is known.
    """
    preset = preset_for(source)
    known = (preset and preset.band(name)) or presets().indices.get(name)
    return known or BandPreset(kind="continuous" if dtype.startswith("float") else None)


def usual_bands(source: str, scenes: Sequence[Scene]) -> list[str]:
    """Names of the bands for a job that names none: the preset's that all scenes have, else all."""
    every, preset = choose_bands([], scenes), preset_for(source)
    usual = [name for name in preset.default_bands if name in every] if preset else []
    return usual or every


def with_preset(job: Job) -> Job:
    """The job with its preset's kind of product, where it says nothing of products itself.

    Raises:
        ConfigError: it has no dates, and does not make one mosaic of its whole collection.
    """
    preset = preset_for(str(job.image or job.collection))
    if job.image is None and preset and preset.product and not {"kind", "method"} & job.product.model_fields_set:
        said = job.product.model_dump(exclude_unset=True) | preset.product.model_dump(exclude_none=True)
        job = job.model_copy(update={"product": Product.model_validate(said)})
    product = job.product
    is_whole = (product.kind, product.merging, product.every) == ("composite", "mosaic", "all")
    if job.image is None and job.dates is None and not is_whole:
        raise ConfigError(f"{job.name}: the job needs dates for a collection, such as dates: {{last: 30d}}.")
    return job


def presets() -> Presets:
    """All presets: the package's, and over them those of the file that `EEFLOW_PRESETS` names."""
    path = load_settings().presets
    return _load(path, path.stat().st_mtime_ns if path and path.exists() else None)


@lru_cache(maxsize=4)
def _load(path: Path | None, changed_ns: int | None) -> Presets:
    """`changed_ns` is part of the cache's key, so that a file that was edited is read again."""
    content: Any = yaml.load(resources.files("eeflow").joinpath("presets.yaml").read_text("utf-8"), _Loader)
    if path is None:
        return Presets.model_validate(content)
    try:
        own = Presets.model_validate(_over(content, read_yaml(path)))
    except ValidationError as error:
        raise ConfigError(f"{path} (EEFLOW_PRESETS): {explain(error, Presets)}") from None
    _check_palettes(own, path)
    return own


def _over(below: Any, above: Any) -> Any:
    """Mappings are merged key by key; anything else is replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}


def _check_palettes(known: Presets, path: Path) -> None:
    bands = {f"indices.{name}": band for name, band in known.indices.items()}
    for asset_id, preset in known.collections.items():
        bands |= {f"collections.{asset_id}.bands.{name}": band for name, band in preset.bands.items()}
    for where, band in bands.items():
        if band.palette and band.palette not in known.palettes:
            raise ConfigError(
                f"{path} (EEFLOW_PRESETS): {where}.palette is {band.palette!r}; it must be one of "
                f"{', '.join(known.palettes)}"
            )
