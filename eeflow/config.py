"""What a job says. One model for YAML files, command-line overrides and the form in the Prefect UI."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from eeflow.form import Model, in_form
from eeflow.options import (
    AreaOfInterest,
    Clouds,
    Comparison,
    Dates,
    GridOptions,
    Limits,
    Output,
    Product,
    Retention,
    Sync,
)

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# Keys that say how and where, not what.
_NOT_CONTENT = {
    "name", "limits", "output", "transport", "region", "packing", "fan_out", "sync", "retention", "workload_tag",
}  # fmt: skip


class Job(Model):
    """One download: an area, a collection, bands and dates become GeoTIFFs on the local disk."""

    name: str = Field(
        description="Names the output folder and files: letters, digits, dot, dash, underscore.",
        json_schema_extra=in_form(_NAME),
    )
    aoi: AreaOfInterest = Field(description="The area of interest.")
    collection: str | None = Field(
        None, description="Asset id of an image collection, such as `COPERNICUS/S2_SR_HARMONIZED`."
    )
    image: str | None = Field(
        None, description="Instead of a collection: asset id of a single image, such as `USGS/SRTMGL1_003`."
    )
    bands: list[str] = Field(
        default_factory=list,
        description="In output order: band names or regular expressions, indices by their usual name (NDVI, EVI, ...), "
        "or `NAME = formula` such as `NDVI = normalized_difference(B8, B4)`. Empty: the preset's, else all.",
    )
    dates: Dates | None = Field(
        None, description="The period; needed for a collection, unless one mosaic is made of all of it."
    )
    filters: dict[str, Comparison] = Field(
        default_factory=dict,
        description='Conditions on scene properties, by name, such as `{"CLOUDY_PIXEL_PERCENTAGE": {"lt": 60}}`; eq, '
        "ne, lt, lte, gt, gte, in and contains.",
    )
    grid: GridOptions = Field(default_factory=lambda: GridOptions.model_validate({}))
    product: Product = Field(default_factory=lambda: Product.model_validate({}))
    clouds: Clouds = Field(default_factory=lambda: Clouds.model_validate({}))
    transport: Literal["auto", "get_region", "compute_pixels"] = Field(
        "auto",
        description="How pixels are asked for. get_region: many scenes of a small area at once; compute_pixels: large "
        "rasters; auto: whichever is quicker. The pixels are the same.",
    )
    region: Literal["rectangle", "points"] = Field(
        "rectangle",
        description="rectangle: the window's outline; points: a server-side grid of points, as in the original "
        "method (same pixels, slower).",
    )
    packing: Literal["auto", "off"] = Field(
        "auto",
        description="auto: get_region's rows without ids and times, bands of whole numbers packed together; off: "
        "plain rows (same pixels, twice the bytes).",
    )
    fan_out: Literal["auto", "bands", "none"] = Field(
        "auto", description="bands: one request per band; none: all bands together; auto: whichever is fewer."
    )
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))
    output: Output = Field(default_factory=lambda: Output.model_validate({}))
    sync: Sync = Field(default_factory=lambda: Sync.model_validate({}))
    retention: Retention = Field(default_factory=lambda: Retention.model_validate({}))
    workload_tag: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$",
        description="Earth Engine counts compute under it: up to 63 lower-case letters, digits, dashes, underscores.",
    )

    @field_validator("bands", mode="before")
    @classmethod
    def _formulas(cls, bands: Any) -> Any:
        """`- NDVI: normalized_difference(B8, B4)` is a mapping in YAML; it means `NDVI = ...`."""
        if not isinstance(bands, list):
            return bands
        return [
            " = ".join(map(str, *band.items())) if isinstance(band, dict) and len(band) == 1 else band for band in bands
        ]

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(_NAME, name):
            raise ValueError(
                f"is {name!r}; it names a folder, so use letters, digits, dot, dash and underscore, "
                f"such as {safe_name(name)!r}"
            )
        return name

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.collection is None) == (self.image is None):
            raise ValueError("needs exactly one of collection and image")
        if self.image is not None and self.product.kind != "scene":
            raise ValueError(f"has product.kind {self.product.kind} for a single image, which is what it is: scene")
        return self

    @property
    def title(self) -> str:
        """What its runs are called: the name and the period."""
        return f"{self.name} {self.dates.title}" if self.dates else self.name

    @property
    def folder(self) -> Path:
        """Where this job's products go."""
        return Path(self.output.root).expanduser() / self.name

    @property
    def cache(self) -> Path:
        """Where what was fetched is kept until its product is whole; shared by the jobs of an output root."""
        return Path(self.output.root).expanduser() / ".eeflow"

    def content_hash(self) -> str:
        """Hash of everything that decides what the products are, not of where they are put or how fetched."""
        content = self.model_dump(mode="json", by_alias=True, exclude=_NOT_CONTENT)
        return digest(content)[:16]


def digest(content: Any) -> str:
    """SHA-256, as hex, of a JSON-like value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def safe_name(text: str) -> str:
    """`text` as the name of a file or folder: no separators, no leading dot, never empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:100] or "unnamed"
