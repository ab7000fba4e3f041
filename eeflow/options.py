"""What a job may say of each matter: where, when, which pixels, of what, without which clouds, and how it is kept."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from eeflow.form import Model, in_form

_DAYS = r"[1-9]\d{0,4}[dw]"
_EVERY = r"all|month|[1-9]\d{0,3}d"


class AreaOfInterest(Model):
    """Where: a vector file, a bounding box or a GeoJSON geometry; exactly one of them."""

    file: str | None = Field(
        None,
        description="Any vector file GDAL reads, relative to the job file; in a form, to the worker's folder.",
    )
    layer: str | None = Field(None, description="Layer of the file; needed when it has several.")
    where: str | None = Field(None, description="SQL condition that chooses features, such as `crop = 'wheat'`.")
    bbox: tuple[float, float, float, float] | None = Field(
        None, description="west, south, east, north, in the units of `crs`."
    )
    geojson: dict[str, Any] | None = Field(None, description="A GeoJSON geometry, feature or collection.")
    crs: str | None = Field(
        None, description="CRS of `bbox` (EPSG:4326 unless given), or of a file that does not say its own."
    )
    repair: bool = Field(False, description="Repair polygons that cross themselves instead of refusing them.")
    buffer: float = Field(0, allow_inf_nan=False, description="Metres added around the area; negative shrinks it.")
    clip: bool = Field(False, description="Mask pixels whose centre lies outside the area.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("file", "bbox", "geojson") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"gives {' and '.join(given) or 'no area'}; give exactly one of file, bbox or geojson")
        if self.bbox and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(
                f"has bbox {list(self.bbox)}; it must be [west, south, east, north] with west < east and south < north"
            )
        if self.file is None and (self.layer or self.where):
            raise ValueError("gives layer or where without a file; they choose features of a file")
        return self


class Dates(Model):
    """When: a period with an exclusive end, or the last days before the run starts."""

    start: date | None = Field(None, description="First day, UTC.")
    end: date | None = Field(None, description="The day after the last one, UTC (exclusive).")
    last: str | None = Field(
        None,
        description="Instead: a look-back such as `30d` or `8w`, counted from the day the run starts.",
        json_schema_extra=in_form(_DAYS),
    )

    @model_validator(mode="after")
    def _period(self) -> Self:
        if self.last is not None:
            if self.start or self.end:
                raise ValueError("gives both last and start/end; give one of the two")
            _checked_days(self.last, "has last")
        elif not (self.start and self.end):
            raise ValueError("needs start and end, or last")
        elif self.start >= self.end:
            raise ValueError(f"has start {self.start} and end {self.end}; end is exclusive and must be after start")
        return self

    def resolve(self, now: datetime | None = None) -> tuple[datetime, datetime]:
        """Start (inclusive) and end (exclusive) as aware UTC datetimes; `last` ends with the day of `now`."""
        if self.last is not None:
            today = (now or datetime.now(UTC)).astimezone(UTC).date()
            end = today + timedelta(days=1)
            return _midnight(end - days(self.last)), _midnight(end)
        assert self.start and self.end  # the validator above
        return _midnight(self.start), _midnight(self.end)

    @property
    def title(self) -> str:
        """The period in a word or two: a month as `2019-05`, a year as `2019`, else its first and last."""
        start, end = (moment.date() for moment in self.resolve())
        last = end - timedelta(days=1)
        if self.last is not None:
            return f"{self.last} to {last}"
        years = (start.month, start.day) == (end.month, end.day) == (1, 1)
        form = "%Y" if years else "%Y-%m" if start.day == end.day == 1 else "%Y-%m-%d"
        first, final = start.strftime(form), last.strftime(form)
        return first if first == final else f"{first} to {final}"


class Comparison(Model):
    """What a property of a scene must be. Several conditions must all hold."""

    eq: str | float | None = Field(None, description="equal to")
    ne: str | float | None = Field(None, description="not equal to")
    lt: float | None = Field(None, description="less than")
    lte: float | None = Field(None, description="at most")
    gt: float | None = Field(None, description="greater than")
    gte: float | None = Field(None, description="at least")
    within: list[str | float] | None = Field(None, alias="in", description="one of these")
    contains: str | None = Field(None, description="a text that holds this")

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("gives no condition; give one or more of eq, ne, lt, lte, gt, gte, in, contains")
        return self


class GridOptions(Model):
    """The pixel grid all products of the job share."""

    crs: str = Field("native", description="native (the collection's own), utm, or any CRS such as EPSG:3035.")
    resolution: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="CRS units per pixel; empty: the finest chosen band's own."
    )
    transform: tuple[float, float, float, float, float, float] | None = Field(
        None,
        description="Instead of the area's own extent: the six numbers of the outer-edge transform (x size, 0, left, "
        "0, -y size, top) in `crs`; with `shape`.",
    )
    shape: tuple[PositiveInt, PositiveInt] | None = Field(None, description="height, width; with `transform`.")
    resampling: Literal["nearest", "bilinear", "bicubic"] = Field(
        "nearest",
        description="How pixels of another grid than a band's own are taken; classes and flags always nearest.",
    )

    @model_validator(mode="after")
    def _whole_grid(self) -> Self:
        if (self.transform is None) != (self.shape is None):
            raise ValueError("gives transform or shape alone; a grid of your own needs both")
        if self.transform is None:
            return self
        if self.resolution is not None or self.crs == "utm":
            raise ValueError("gives transform beside resolution or crs: utm; the transform says it all")
        a, b, _, d, e, _ = self.transform
        if b or d or a <= 0 or e >= 0:
            raise ValueError(f"has transform {list(self.transform)}; it must be north up: size, 0, left, 0, -size, top")
        return self


class Product(Model):
    """What one output raster holds."""

    kind: Literal["scene", "day", "composite"] = Field(
        "scene",
        description="scene: one GeoTIFF per acquisition; day: the scenes of one pass mosaicked; composite: the scenes "
        "of a period merged by `method`.",
    )
    method: Literal["mosaic", "median", "mean", "min", "max", "least_cloudy", "best_pixel"] | None = Field(
        None,
        description="How scenes become one raster. mosaic: the most recent valid pixel; least_cloudy: that of the "
        "scene with the least cloud over the area; best_pixel: that with the highest Cloud Score+. Empty: mosaic for "
        "day, median for composite.",
    )
    every: str = Field(
        "all",
        description="A composite for each `month`, for so many days (`16d`), or one for `all` of the period.",
        json_schema_extra=in_form(_EVERY),
    )
    min_valid_fraction: float = Field(
        0, ge=0, le=1, description="A product with a smaller share of valid pixels is not kept."
    )

    @field_validator("every")
    @classmethod
    def _period(cls, every: str) -> str:
        if not re.fullmatch(_EVERY, every):
            raise ValueError(f"is {every!r}; it must be all, month, or a number of days such as 16d")
        return every

    @model_validator(mode="after")
    def _method_of_kind(self) -> Self:
        if self.kind == "scene" and self.method:
            raise ValueError(f"has method {self.method} with kind scene, which merges nothing; say kind: composite")
        if self.kind != "composite" and self.every != "all":
            raise ValueError(f"has every {self.every} with kind {self.kind}; periods are those of a composite")
        return self

    @property
    def merging(self) -> str | None:
        """How scenes become one raster; None where each stays its own."""
        return self.method or {"day": "mosaic", "composite": "median"}.get(self.kind)


class Clouds(Model):
    """Which pixels count as cloud, and how much cloud over the area is too much."""

    method: Literal["none", "scl", "qa60", "cloud-score-plus", "qa_pixel"] = Field(
        "none",
        description="scl: Sentinel-2 scene classes; qa60: Sentinel-2 cloud flags; cloud-score-plus: Google's Cloud "
        "Score+ of Sentinel-2; qa_pixel: Landsat's quality flags.",
    )
    max_fraction: float | None = Field(
        None, ge=0, le=1, description="Scenes with a larger share of cloud, over the area itself, are left out."
    )
    mask: bool = Field(True, description="Mask cloudy pixels; false only judges by max_fraction.")
    classes: list[Annotated[int, Field(ge=0, le=11)]] = Field(
        default=[3, 8, 9, 10],
        description="scl: classes that count as cloud (3 shadow, 8 and 9 cloud, 10 cirrus, 11 snow).",
    )
    snow_is_cloud_above: float | None = Field(
        None,
        gt=0,
        description="scl calls thick cloud snow at times: class 11 counts as cloud where the blue band (B2) is above "
        "this number. Earth's snow and cloud look alike there, so only for areas without snow.",
    )
    bits: list[Annotated[int, Field(ge=0, le=7)]] = Field(
        default=[1, 2, 3, 4],
        description="qa_pixel: bits that count as cloud (1 dilated, 2 cirrus, 3 cloud, 4 shadow).",
    )
    score: Literal["cs", "cs_cdf"] = Field("cs_cdf", description="cloud-score-plus: which of its two bands.")
    threshold: float = Field(0.6, ge=0, le=1, description="cloud-score-plus: pixels below this score count as cloud.")

    @model_validator(mode="after")
    def _some_method(self) -> Self:
        if self.method == "none" and self.max_fraction is not None:
            raise ValueError("has max_fraction without a method; give one of scl, qa60, cloud-score-plus, qa_pixel")
        return self


class Limits(Model):
    """A run that plans more than this stops before it spends anything."""

    max_requests: int = Field(5000, gt=0, description="Requests for pixels in one run.")
    max_gib: float = Field(50, gt=0, description="GiB of pixels in one run, uncompressed.")
    max_requests_per_month: int | None = Field(
        None, gt=0, description="Requests in a calendar month (UTC) of all jobs of the output root and project."
    )
    max_eecu_seconds_per_month: float | None = Field(
        None,
        gt=0,
        description="EECU-seconds in a calendar month (UTC), taken to be the seconds that Earth Engine took to answer, "
        "since it tells nobody what a request cost.",
    )


class Output(Model):
    """Where and how products are written."""

    root: str = Field("data", description="Folder that holds one folder per job name.")
    format: Literal["cog", "gtiff"] = Field("cog", description="Cloud-optimised or plain tiled GeoTIFF.")
    dtype: Literal["native", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"] = Field(
        "native",
        description="native keeps the bands' own; a value that does not fit is an error, never wrapped.",
    )
    reflectance: bool = Field(
        False,
        description="Write physical values (float32) by the preset's scale and offset, not stored numbers.",
    )
    compress: Literal["deflate", "zstd"] = Field("deflate", description="zstd is smaller; some readers lack it.")
    quicklook: bool = Field(True, description="Write a PNG beside each GeoTIFF.")
    stac: bool = Field(True, description="Write a STAC catalog and items beside the GeoTIFFs.")
    table: Literal["none", "csv", "parquet"] = Field(
        "none",
        description="Write a table of the area's mean, median, standard deviation and count, by band and product.",
    )

    @model_validator(mode="after")
    def _floats_for_reflectance(self) -> Self:
        if self.reflectance and self.dtype not in {"native", "float32", "float64"}:
            raise ValueError(f"has dtype {self.dtype} with reflectance: true; physical values are float32 or float64")
        return self


class Sync(Model):
    """How a recurring run treats what changed."""

    look_back: str | None = Field(
        None,
        description="How far back to look for late and changed scenes, such as `60d`; empty: the job's own dates.",
        json_schema_extra=in_form(_DAYS),
    )
    replaced: Literal["remove", "keep"] = Field(
        "remove", description="What becomes of a product whose scene has a newer version: remove it, or keep it aside."
    )

    @field_validator("look_back")
    @classmethod
    def _days(cls, look_back: str | None) -> str | None:
        return look_back and _checked_days(look_back, "is")


class Retention(Model):
    """What is removed after a run; nothing unless said."""

    keep: str | None = Field(
        None,
        description="Products older than this, by their scene's time, are removed: `400d`.",
        json_schema_extra=in_form(_DAYS),
    )
    max_gib: float | None = Field(
        None, gt=0, description="Above this size of the folder, the oldest products are removed."
    )

    @field_validator("keep")
    @classmethod
    def _days(cls, keep: str | None) -> str | None:
        return keep and _checked_days(keep, "is")


def days(text: str) -> timedelta:
    """The length of `30d` or `8w`."""
    return timedelta(days=int(text[:-1]) * (7 if text.endswith("w") else 1))


def _checked_days(text: str, verb: str) -> str:
    if not re.fullmatch(_DAYS, text):
        raise ValueError(f"{verb} {text!r}; it must be days or weeks, such as 30d or 8w")
    return text


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
