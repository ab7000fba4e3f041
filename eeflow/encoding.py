"""How a product's bands are stored in a file: which numbers, of which dtype, and what the file says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eeflow.config import Job
from eeflow.errors import ConfigError, ValueOutOfRange
from eeflow.presets import BandPreset, band_preset, preset_for
from eeflow.series import BandType


@dataclass(frozen=True)
class Encoding:
    """How a product's bands are stored.

    Attributes:
        names: of the bands, in order.
        dtype: of the file.
        physical: whether physical values are stored, instead of numbers that stand for them.
        bands: what is known of each band.
    """

    names: tuple[str, ...]
    dtype: np.dtype[Any]
    physical: bool
    bands: tuple[BandPreset, ...]

    @property
    def scales(self) -> tuple[float, ...]:
        """What the file says a stored number is multiplied by; 1 where it holds physical values."""
        return tuple(1.0 if self.physical else band.scale for band in self.bands)

    @property
    def offsets(self) -> tuple[float, ...]:
        """What the file says is added then."""
        return tuple(0.0 if self.physical else band.offset for band in self.bands)

    @property
    def nodata(self) -> int | None:
        """What the presets would have stand for masked pixels; None where they do not agree or the dtype lacks it."""
        wishes = {band.nodata for band in self.bands}
        wish = wishes.pop() if len(wishes) == 1 else None
        fits = wish is not None and self.dtype.kind in "iu" and _holds(self.dtype, wish)
        return wish if fits else None

    @property
    def resampling(self) -> Literal["average", "mode", "nearest"]:
        """How overviews are made: means of continuous bands, the most frequent of classes and flags.

        A GeoTIFF has one way for all its bands: where they differ, or where it is not known what the numbers are, a
        pixel of an overview is one of the raster's own.
        """
        kinds = {band.kind for band in self.bands}
        if kinds == {"continuous"}:
            return "average"
        return "mode" if kinds <= {"classes", "flags"} else "nearest"

    @property
    def classes(self) -> dict[int, str]:
        """Names by value, where the file is a map of classes."""
        band = self.bands[0]
        return {value: each.name for value, each in band.classes.items()} if self._is_map else {}

    @property
    def colours(self) -> dict[int, tuple[int, int, int]]:
        """Colours by value, where the file is a map of classes that all have one."""
        found = {value: each.colour for value, each in self.bands[0].classes.items()} if self._is_map else {}
        return {value: rgb(colour) for value, colour in found.items() if colour} if all(found.values()) else {}

    @property
    def _is_map(self) -> bool:
        return len(self.bands) == 1 and self.dtype == np.uint8 and self.bands[0].kind == "classes"

    def encode(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """The numbers to store.

        Physical values are worked out in 64-bit floats and rounded once. Otherwise numbers stay what they are: floats
        become whole numbers by rounding half to even and narrower floats by rounding to the nearest, and nothing else
        is rounded.

        Args:
            values: as delivered, of shape (band, height, width).
            valid: of the same shape; pixels that are not valid may hold anything.

        Raises:
            ValueOutOfRange: the dtype cannot hold a valid value.
        """
        if not self.physical and values.dtype == self.dtype:
            return values
        stored = np.empty(values.shape, self.dtype)
        for index, band in enumerate(self.bands):
            source = values[index]
            if self.physical and band.is_scaled:
                source = source.astype(np.float64) * band.scale + band.offset
            elif self.physical:
                source = source.astype(np.float64)
            stored[index] = _cast(source, valid[index], self.dtype, self.names[index])
        return stored


def encoding_of(job: Job, source: str, bands: Sequence[BandType]) -> Encoding:
    """How a job's products are stored.

    Raises:
        ConfigError: physical values are asked for of a band whose scale is not known.
    """
    known = tuple(band_preset(source, band.name, band.dtype) for band in bands)
    output = job.output
    if output.reflectance:
        _check_scales(source, bands, known)
    native = np.result_type(*(np.dtype(band.dtype) for band in bands))
    usual = np.dtype(np.float32) if output.reflectance else native
    dtype = usual if output.dtype == "native" else np.dtype(output.dtype)
    return Encoding(tuple(band.name for band in bands), dtype, output.reflectance, known)


def output_content(job: Job, source: str, bands: Sequence[BandType]) -> list[Any]:
    """What of the job's `output`, and of what is known of its bands, decides what a file holds.

    Raises:
        ConfigError: as `encoding_of`.
    """
    encoding = encoding_of(job, source, bands)
    scaling = [[band.scale, band.offset] for band in encoding.bands] if encoding.physical else None
    return [job.output.format, job.output.compress, str(encoding.dtype), scaling]


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`, 0 to 255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _check_scales(source: str, bands: Sequence[BandType], known: Sequence[BandPreset]) -> None:
    preset = preset_for(source)
    unknown = [band.name for band, facts in zip(bands, known, strict=True) if facts.kind is None]
    if preset and preset.unscaled:
        unknown += [band.name for band, facts in zip(bands, known, strict=True) if facts.common_name]
    if not unknown:
        return
    why = (preset and preset.unscaled) or "no preset gives their scale and offset"
    raise ConfigError(
        f"output.reflectance is true, but the physical values of {', '.join(unknown)} of {source} cannot be told: "
        f"{why}; or give them in a file that EEFLOW_PRESETS names, or leave output.reflectance out."
    )


def _cast(values: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """`values` in another dtype; see `Encoding.encode`."""
    if values.dtype.kind == "f" and dtype.kind in "iu":
        values = np.rint(values.astype(np.float64, copy=False))
    with np.errstate(all="ignore"):  # pixels that are not valid may hold anything
        cast = values.astype(dtype)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            lost = ~((values >= info.min) & (values <= info.max))
        elif values.dtype.kind in "iu":
            exact = 2 ** (np.finfo(dtype).nmant + 1)
            lost = (values > exact) | (values < -exact)
        else:
            lost = np.isfinite(values) & ~np.isfinite(cast)
    lost &= valid
    if lost.any():
        first = values[lost][0]
        raise ValueOutOfRange(
            f"Band {name} has the value {first}, which {dtype} cannot hold ({_range(dtype, values.dtype)}). No file "
            "was written; choose another output.dtype, or native."
        )
    return cast


def _range(dtype: np.dtype[Any], source: np.dtype[Any]) -> str:
    if dtype.kind in "iu":
        return f"{np.iinfo(dtype).min:,} to {np.iinfo(dtype).max:,}"
    if source.kind in "iu":
        return f"whole numbers only up to {2 ** (np.finfo(dtype).nmant + 1):,} exactly"
    return f"up to {np.finfo(dtype).max:g}"


def _holds(dtype: np.dtype[Any], value: int) -> bool:
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
