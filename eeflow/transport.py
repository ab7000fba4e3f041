"""The two ways pixels come home, and what each would cost: the same blocks, bit for bit, from either."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eeflow.blocks import Block
from eeflow.pixels import ComputePixels
from eeflow.region import GetRegion
from eeflow.room import Answer
from eeflow.series import Request, Series, TransportName
from eeflow.session import Session


class Transport(Protocol):
    """One of Earth Engine's methods that return pixels: its limits, its requests, its answers.

    Attributes:
        most_side: height or width, in pixels, that one request may ask for.
        seconds_per_byte: what decoding takes on one processor.
    """

    name: TransportName
    most_side: int
    seconds_per_byte: float

    def budget(self, series: Series, bands: Sequence[str]) -> int:
        """Pixels, over all its scenes, that one request for some bands may ask for."""

    def most_scenes(self, series: Series, bands: Sequence[str]) -> int:
        """Scenes that one request for some bands may hold, however few their pixels."""

    def answer_bytes(self, series: Series, bands: Sequence[str], pixels: int) -> int:
        """Size of the answer for so many pixels, before compression."""

    def ask(self, session: Session, series: Series, request: Request) -> Answer:
        """Sends a request; the body of its answer."""

    def read(self, body: bytes, series: Series, request: Request) -> dict[str, Block]:
        """The blocks in an answer, one a scene. Raises BadAnswer."""


_LEAST_LATENCY, _MOST_LATENCY = 0.05, 5.0

TRANSPORTS: dict[TransportName, Transport] = {"get_region": GetRegion(), "compute_pixels": ComputePixels()}


@dataclass(frozen=True)
class Pace:
    """What requests cost, as far as it is known before they are sent.

    Attributes:
        concurrent: requests in flight.
        latency: seconds a request takes that asks for next to nothing.
        seconds_per_value: of Earth Engine's work, in one request.
        bytes_per_second: of the line, uncompressed.
        seconds_per_request: what a request costs besides, so that fewer win where the time is the same.
    """

    concurrent: int = 32
    latency: float = 0.5
    seconds_per_value: float = 1e-6
    bytes_per_second: float = 50e6
    seconds_per_request: float = 0.01

    @classmethod
    def of(cls, session: Session) -> Pace:
        """The pace of this run: its quickest answer so far, most often the list of scenes, tells the latency.

        Within bounds, since one answer may have come from a cache or met a busy minute.
        """
        seconds = session.quickest or cls.latency
        latency = min(_MOST_LATENCY, max(_LEAST_LATENCY, seconds))
        return cls(session.settings.max_concurrent, latency=latency)

    def seconds(self, requests: int, values: int, answer_bytes: int, seconds_per_byte: float) -> float:
        """Estimated time of a plan: waves of requests, the line, and decoding here.

        Args:
            requests: how many, of about the same size.
            values: pixels x bands x scenes of all of them.
            answer_bytes: of all answers.
            seconds_per_byte: what decoding takes on one processor.
        """
        if not requests:
            return 0.0
        waves = math.ceil(requests / self.concurrent)
        return (
            waves * (self.latency + values / requests * self.seconds_per_value)
            + requests * self.seconds_per_request
            + answer_bytes * (1 / self.bytes_per_second + seconds_per_byte)
        )


USUAL_PACE = Pace()
