"""ImageCollection.getRegion: what is asked, how its rows are read, and where each value belongs.

All rules about getRegion are in this folder. What it really does, from its documentation
(https://developers.google.com/earth-engine/apidocs/ee-imagecollection-getregion) and recorded answers:

- A row is `[id, longitude, latitude, time, band...]`; the coordinates are degrees of the pixel's *centre*.
- A pixel is taken when its centre lies in the region. `scale` puts pixel edges on multiples of the scale, not on the
  image's own; only `crs` with `crsTransform` gives native pixels.
- Rows come pixel by pixel in no order to rely on, so each value is placed by its coordinates, never by position.
- A masked band is null. A pixel masked in all bands has a row all the same; an image that misses the pixel has none.

So rows are made short where the series says so: images go by their number in the request instead of their id, all at
time 0, and bands are packed (`eeflow.packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eeflow.blocks import Block
from eeflow.packing import names_of, unpacked
from eeflow.region.expression import columns, region_expression
from eeflow.region.placing import place
from eeflow.region.rows import decode
from eeflow.room import Answer
from eeflow.series import Request, Series, TransportName
from eeflow.session import Session

# An answer holds at most this many values, counted as points x bands x images.
MAX_VALUES = 1_048_576
# Rows are what an answer weighs (about 95 bytes of JSON each, whatever the number of bands) and what its decoding
# costs in memory; an answer is refused above 100 MiB: https://developers.google.com/earth-engine/guides/usage
MAX_ROWS = 300_000
# Short rows are about 64 bytes each with four bands, and take five sixths of the memory.
MAX_SHORT_ROWS = 360_000
_BYTES_PER_ROW, _BYTES_PER_VALUE = 88, 7
_BYTES_PER_SHORT_ROW, _BYTES_PER_SHORT_VALUE = 44, 5


class GetRegion:
    """The transport: all scenes of a window in one request, exact nulls, JSON. Best for fields and long series."""

    name: TransportName = "get_region"
    most_side = MAX_VALUES
    # Arrow parses about a million rows a second, and placing them takes as long again.
    seconds_per_byte = 2e-8

    def budget(self, series: Series, bands: Sequence[str]) -> int:
        """Pixels, over all its scenes, that one request for some bands may ask for."""
        rows = MAX_SHORT_ROWS if series.packing else MAX_ROWS
        return min(rows, MAX_VALUES // len(columns(series, bands)))

    def most_scenes(self, series: Series, bands: Sequence[str]) -> int:
        """Scenes that one request may hold, however few their pixels."""
        return self.budget(series, bands)

    def answer_bytes(self, series: Series, bands: Sequence[str], pixels: int) -> int:
        """Estimated size of the answer for so many pixels, before compression."""
        if series.packing:
            return pixels * (_BYTES_PER_SHORT_ROW + _BYTES_PER_SHORT_VALUE * len(bands))
        return pixels * (_BYTES_PER_ROW + _BYTES_PER_VALUE * len(bands))

    def ask(self, session: Session, series: Series, request: Request) -> Answer:
        """Sends a request. Errors as in `Session.compute`."""
        return session.compute(region_expression(series, request))

    def read(self, body: bytes, series: Series, request: Request) -> dict[str, Block]:
        """The blocks in an answer, one a scene. Raises BadAnswer."""
        if not series.packing:
            return place(series, request, decode(body, request.bands))
        packed = columns(series, request.bands)
        rows = decode(body, names_of(packed))
        return place(series, request, replace(rows, values=unpacked(packed, rows.values)))
