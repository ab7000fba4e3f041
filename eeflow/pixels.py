"""image:computePixels: binary pixels of a grid, with validity carried beside them.

All rules about computePixels are here (https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels):

- The answer's pixels are those of the grid that is asked for, row 0 at the top, nearest neighbour at pixel centres.
- Masked pixels come as 0, with nothing that tells them from a valid 0. So each scene's masks travel along as one more
  band, a bit for each band: 1 to 4 bytes a pixel for up to 32 bands, exact for every dtype.
- An answer holds at most 48 MiB, where each band counts a mask byte beside its own, 32,768 pixels a side and 1,024
  bands.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from eeflow.blocks import Block
from eeflow.errors import BadAnswer
from eeflow.footprint import in_raster
from eeflow.grid import crs_name
from eeflow.room import Answer
from eeflow.series import Request, Series, TransportName
from eeflow.session import Session

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
MAX_SIDE = 32_768
MAX_BANDS = 1_024
# A band of doubles would be the first that cannot hold more bits exactly.
BITS_PER_MASK_BAND = 32


# An answer of this size keeps 32 of them in flight within memory, and a large raster spread over many requests.
COMFORTABLE_BYTES = 8 * 2**20


class ComputePixels:
    """The transport: binary pixels of one or more scenes folded into bands. Best for large rasters."""

    name: TransportName = "compute_pixels"
    most_side = MAX_SIDE
    seconds_per_byte = 2e-9

    def budget(self, series: Series, bands: Sequence[str]) -> int:
        """Pixels, over all its scenes, that one request for some bands may ask for."""
        return COMFORTABLE_BYTES // bytes_per_pixel(series.dtypes(bands))

    def most_scenes(self, series: Series, bands: Sequence[str]) -> int:
        """Scenes that one request may hold, however few their pixels: each brings its bands into the one image."""
        return max(1, MAX_BANDS // _bands_per_scene(bands))

    def answer_bytes(self, series: Series, bands: Sequence[str], pixels: int) -> int:
        """Size of the answer for so many pixels, before compression."""
        return pixels * (bytes_per_pixel(series.dtypes(bands)) - _bands_per_scene(bands))

    def ask(self, session: Session, series: Series, request: Request) -> Answer:
        """Sends a request. Errors as in `Session.compute_pixels`."""
        return session.compute_pixels(pixels_body(series, request))

    def read(self, body: bytes, series: Series, request: Request) -> dict[str, Block]:
        """The blocks in an answer, one a scene. Raises BadAnswer."""
        return decode_pixels(body, series, request)


def bytes_per_pixel(dtypes: Sequence[str]) -> int:
    """What Earth Engine counts for one pixel of one scene: each band and mask-bits band, and a mask byte for each."""
    sizes = [np.dtype(dtype).itemsize for dtype in dtypes]
    sizes += [_bits_dtype(len(part)).itemsize for part in _parts(list(dtypes))]
    return sum(size + 1 for size in sizes)


def _bands_per_scene(bands: Sequence[str]) -> int:
    return len(bands) + math.ceil(len(bands) / BITS_PER_MASK_BAND)


def pixels_body(series: Series, request: Request) -> dict[str, Any]:
    """The body of the computePixels request for a request's pixels; scenes are folded into bands of one image."""
    window = request.window.of(series.grid)
    t, name = window.transform, crs_name(window)
    code = {"crsCode": name} if ":" in name and len(name) < 32 else {"crsWkt": name}
    return {
        "expression": _expression(series, request.image_ids, request.bands),
        "fileFormat": "NPY",
        "grid": {
            "dimensions": {"width": window.width, "height": window.height},
            "affineTransform": {
                "scaleX": t.a,
                "shearX": t.b,
                "translateX": t.c,
                "shearY": t.d,
                "scaleY": t.e,
                "translateY": t.f,
            },
            **code,
        },
    }


def decode_pixels(body: bytes, series: Series, request: Request) -> dict[str, Block]:
    """The blocks in an answer's NPY body, one a scene.

    Raises:
        BadAnswer: the body is cut or malformed, of another shape or with other bands than asked, or a value does not
            fit its band's dtype.
    """
    pixels = _array(body)
    shape = (request.window.height, request.window.width)
    wanted = [name for number in range(len(request.image_ids)) for name in _names(request.bands, number)]
    if pixels.shape != shape or list(pixels.dtype.names or ()) != wanted:
        raise BadAnswer(
            f"computePixels returned {pixels.shape} pixels of bands {pixels.dtype.names}; asked was {shape} of "
            f"{wanted}."
        )
    return {image_id: _block(series, request, number, pixels) for number, image_id in enumerate(request.image_ids)}


def _array(body: bytes) -> NDArray[Any]:
    """An NPY body as the array it is, in place: numpy's own way copies it piece by piece."""
    head = io.BytesIO(body)
    try:
        read_header = _READ_HEADER[np.lib.format.read_magic(head)]
        shape, is_fortran, dtype = read_header(head)
        flat = np.frombuffer(body, dtype, math.prod(shape), head.tell())
        return flat.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, KeyError, EOFError, OSError):
        raise BadAnswer("Earth Engine's answer is not the NPY array that computePixels gives.") from None


@lru_cache(maxsize=16)  # few, for each keeps its series
def _expression(series: Series, image_ids: tuple[str, ...], bands: tuple[str, ...]) -> dict[str, Any]:
    """The scenes' bands and masks as the bands of one image, which all windows have in common."""
    images = [_scene_image(series, image_id, bands, number) for number, image_id in enumerate(image_ids)]
    image = images[0] if len(images) == 1 else ee.Image.cat(images)
    encoded: dict[str, Any] = ee.serializer.encode(image, for_cloud_api=True)
    return encoded


def _scene_image(series: Series, image_id: str, bands: tuple[str, ...], number: int) -> ee.Image:
    """The scene's bands, and after them its masks as bits, renamed so that scenes can be folded together."""
    make = series.recipe.single if series.is_image else series.recipe.image
    source = make(series.source, series.image(image_id), bands)
    masks = [_mask_bits(source, part) for part in _parts(list(bands))]
    return ee.Image.cat([source, *masks]).rename(_names(bands, number))


def _mask_bits(source: ee.Image, bands: list[str]) -> ee.Image:
    bits = [source.select([band]).mask().neq(0).multiply(2**bit).rename(["bits"]) for bit, band in enumerate(bands)]
    total = bits[0]
    for bit in bits[1:]:
        total = total.add(bit)
    return getattr(total, f"toUint{8 * _bits_dtype(len(bands)).itemsize}")()


def _names(bands: Sequence[str], number: int) -> list[str]:
    masks = math.ceil(len(bands) / BITS_PER_MASK_BAND)
    return [f"s{number}_b{band}" for band in range(len(bands))] + [f"s{number}_m{m}" for m in range(masks)]


def _parts(bands: list[str]) -> list[list[str]]:
    return [bands[start : start + BITS_PER_MASK_BAND] for start in range(0, len(bands), BITS_PER_MASK_BAND)]


def _bits_dtype(bands: int) -> np.dtype[Any]:
    return np.dtype("u1" if bands <= 8 else "u2" if bands <= 16 else "u4")


def _block(series: Series, request: Request, number: int, pixels: NDArray[Any]) -> Block:
    values, valid = {}, {}
    masks = len(_parts(list(request.bands)))
    bits = [np.ascontiguousarray(pixels[f"s{number}_m{part}"]) for part in range(masks)]
    for index, name in enumerate(request.bands):
        part, bit = divmod(index, BITS_PER_MASK_BAND)
        valid[name] = bits[part] & bits[part].dtype.type(1 << bit) != 0
        values[name] = _cast(name, pixels[f"s{number}_b{index}"], valid[name], series.band(name).dtype)
    own = series.recipe.inputs(request.bands[0])
    covered = in_raster(series.image(request.image_ids[number]), own, request.window.of(series.grid))
    return Block(values, valid, covered | np.logical_or.reduce(list(valid.values())))


def _cast(name: str, values: NDArray[Any], valid: NDArray[np.bool_], dtype: str) -> NDArray[Any]:
    """Values in the band's dtype, 0 where not valid; never wrapped."""
    kept = values.copy()
    np.copyto(kept, 0, where=~valid)
    if np.can_cast(values.dtype, dtype, "safe"):
        return kept.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):
        cast = kept.astype(dtype)
    if not np.array_equal(cast.astype(values.dtype), kept):
        wrong = kept[cast.astype(values.dtype) != kept][0]
        raise BadAnswer(f"Band {name} is {dtype}, but computePixels returned {wrong}, which it cannot hold.")
    return cast
