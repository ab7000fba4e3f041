"""Carrying out requests: ask, place, keep; split what is too large; many at a time."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from eeflow.blocks import Block, BlockStore
from eeflow.errand import errand
from eeflow.errors import (
    BadAnswer,
    RequestError,
    RequestTooLarge,
    Stopped,
    TooManyRequests,
    TransientError,
)
from eeflow.room import Answer
from eeflow.series import Request, Series
from eeflow.session import Session, unpack
from eeflow.sizes import Sizes
from eeflow.transport import TRANSPORTS

# How often a request is split: 4,096 x 4,096 pixels, 64 scenes and 64 bands are down to one value after 24 times.
MOST_SPLITS = 24
# How often a request may be refused as one too many before its task has to wait and try the batch again.
ADMISSIONS = 5
# What an endpoint says that does not know how bands are packed; any other refusal is of the request itself.
_UNKNOWN_TO_IT = re.compile(
    r"algorithm|function|not (implemented|supported|known)|unsupported|unknown|Collection\.map|"
    r"Image\.(clamp|unmask|mask|toDouble|subtract|multiply|add|set)\b",
    re.IGNORECASE,
)
# Decoding is work for a processor and for memory, so no more run at once than there are processors.
_decoding = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Receipt:
    """What a batch brought: the keys of its blocks, and what it took.

    Attributes:
        keys: blocks that are now in the store.
        requests: requests that were asked for; 0 when every block was there.
        splits: requests that Earth Engine found too large.
    """

    keys: tuple[str, ...]
    requests: int
    splits: int


@dataclass
class Control:
    """What a run's batches share: whom to tell of each settled request, when to stop, and what sizes work.

    Attributes:
        on_done: called after each request whose blocks are kept.
        on_kept: called with the keys of these blocks.
        halted: asked before each request, whether the run is to stop.
        stop: once set, no further request is begun.
        plainly: once set, nothing is packed any more, for the endpoint refused what was.
    """

    on_done: Callable[[], None] = lambda: None
    halted: Callable[[], bool] = lambda: False
    stop: threading.Event = field(default_factory=threading.Event)
    plainly: threading.Event = field(default_factory=threading.Event)
    sizes: Sizes = field(default_factory=Sizes)
    on_kept: Callable[[Iterable[str]], None] = lambda keys: None

    def __reduce__(self) -> tuple[type[Control], tuple[()]]:
        """In another process neither the callback nor the event means anything: a new control goes there."""
        return Control, ()


def fetch_batch(
    session: Session, series: Series, requests: Sequence[Request], store: BlockStore, control: Control
) -> Receipt:
    """Fetches what is missing of a batch; each block is kept as soon as it is there.

    Requests share the session's threads with those of other batches. One that fails for a passing reason does not stop
    the others: they are finished and kept, so that trying the batch again asks for the failed ones only. One that Earth
    Engine refuses for good stops the whole run.

    Raises:
        TransientError: some requests failed and may succeed later.
        RequestError: Earth Engine refused one for good.
        Stopped: the run was told to stop.
    """
    missing = missing_requests(series, requests, store)
    batch = _Batch(session, series, store, control)
    for request in missing:
        batch.submit(_Part(request, _Whole(request)))
    failed = batch.finish()
    if failed:
        worst = max(failed, key=lambda error: error.retry_after or 0)
        text = str(worst) if len(missing) == 1 else f"{len(failed)} of {len(missing)} requests failed: {worst}"
        raise type(worst)(text, worst.status, worst.retry_after)
    return Receipt(batch_keys(series, requests), len(missing), batch.splits)


def batch_keys(series: Series, requests: Sequence[Request]) -> tuple[str, ...]:
    """Keys of all blocks that the requests of a batch bring."""
    return tuple(key for request in requests for key in _keys(series, request).values())


def missing_requests(series: Series, requests: Sequence[Request], store: BlockStore) -> list[Request]:
    """The requests, each for those of its scenes only whose blocks are not in the store."""
    wanted = []
    for request in requests:
        absent = tuple(image_id for image_id, key in _keys(series, request).items() if not store.has(key))
        if absent:
            wanted.append(replace(request, image_ids=absent))
    return wanted


def _keys(series: Series, request: Request) -> dict[str, str]:
    return {image_id: series.block_key(image_id, request.bands, request.window) for image_id in request.image_ids}


class _Whole:
    """A request of a batch, and the parts that are still open of it."""

    def __init__(self, request: Request):
        self.request = request
        self.open = 1
        self.parts: list[Request] = []


@dataclass(frozen=True)
class _Part:
    """A request to send: a whole one, or what it was split into."""

    request: Request
    whole: _Whole
    depth: int = 0

    def split(self) -> list[_Part]:
        return [replace(self, request=piece, depth=self.depth + 1) for piece in self.request.split()]


class _Batch:
    """Requests under way together. One thread submits and finishes, the session's threads carry out."""

    def __init__(self, session: Session, series: Series, store: BlockStore, control: Control):
        self.session, self.series, self.store, self.control = session, series, store, control
        self.splits = 0
        self._counting = threading.Lock()
        self._under_way = 0
        self._settled: SimpleQueue[tuple[_Part, Future[list[_Part]]]] = SimpleQueue()

    def submit(self, part: _Part) -> None:
        """Queues a request for the next free thread."""
        self._under_way += 1
        future = self.session.threads.submit(self._carry_out, part)
        future.add_done_callback(lambda done: self._settled.put((part, done)))

    def finish(self) -> list[TransientError]:
        """Waits until all is settled; what failed for a passing reason. Raises what stops the run."""
        failed: dict[_Whole, TransientError] = {}
        final: BaseException | None = None
        while self._under_way:
            part, future = self._settled.get()
            self._under_way -= 1
            try:
                self._settle(part, future.result())
            except TransientError as error:
                failed[part.whole] = error
            except BaseException as error:  # noqa: BLE001  raised below, when the others have ended
                self.control.stop.set()  # which they do at once where they are not yet sent
                final = error if final is None or isinstance(final, Stopped) else final
        if final:
            raise final
        return list(failed.values())

    def _settle(self, part: _Part, pieces: list[_Part]) -> None:
        whole = part.whole
        whole.open += len(pieces) - 1
        if pieces:
            for piece in pieces:
                self.submit(piece)
            return
        whole.parts.append(part.request)
        if not whole.open:
            _assemble(self.series, whole, self.store)
            self.control.on_kept(_keys(self.series, whole.request).values())
            self.control.on_done()

    def _carry_out(self, part: _Part) -> list[_Part]:
        """Brings a request's blocks into the store; or the parts it has to be asked for in."""
        request = part.request
        if self.control.stop.is_set() or self.control.halted():
            raise Stopped("The run was stopped before this request was sent.")
        if part.depth and not missing_requests(self.series, [request], self.store):
            return []
        if not self.control.sizes.admits(request):
            return part.split()
        errand.set(whose := errand.get().of_request(request.title))  # in this call's own context
        series = replace(self.series, packing=False) if self.control.plainly.is_set() else self.series
        try:
            with self.control.sizes.attempt(request):
                answer = self._ask(series, request)
        except RequestTooLarge as error:
            with self._counting:
                self.splits += 1
            pieces = self._split(part, error)
            whose.tell(logging.INFO, "too large, asked for in %d parts", len(pieces))
            return pieces
        except RequestError as error:
            if not (series.packing and request.transport == "get_region" and _UNKNOWN_TO_IT.search(str(error))):
                raise
            self.control.plainly.set()
            return [part]
        with answer as body:
            self._keep(series, request, body)
        return []

    def _ask(self, series: Series, request: Request) -> Answer:
        """Sends a request; one refused for being one too many queues again at the gate, which is narrower by then."""
        transport = TRANSPORTS[request.transport]
        for _ in range(ADMISSIONS - 1):
            try:
                return transport.ask(self.session, series, request)
            except TooManyRequests:
                continue
        return transport.ask(self.session, series, request)

    def _split(self, part: _Part, error: RequestTooLarge) -> list[_Part]:
        pieces = part.split()
        if len(pieces) == 1 or part.depth >= MOST_SPLITS:
            window, request = part.request.window, part.request
            raise RequestError(
                f"Earth Engine finds even {window.height} x {window.width} pixels too much (row {window.row}, column "
                f"{window.col}, band {request.bands[0]}, image {request.image_ids[0]}): {error}",
                error.status,
            ) from error
        return pieces

    def _keep(self, series: Series, request: Request, body: bytes) -> None:
        try:
            with _decoding:
                blocks = TRANSPORTS[request.transport].read(unpack(body), series, request)
        except BadAnswer as error:
            self.session.count_failure()
            errand.get().tell(logging.WARNING, "%s", error)
            raise
        for image_id, key in _keys(series, request).items():
            self.store.save(key, blocks[image_id])


def _assemble(series: Series, whole: _Whole, store: BlockStore) -> None:
    """A request's blocks from those of its parts; the parts' are let go."""
    if whole.parts == [whole.request]:
        return
    request, parts = whole.request, whole.parts
    dtypes = {name: series.band(name).dtype for name in request.bands}
    for image_id, key in _keys(series, request).items():
        block = Block.empty((request.window.height, request.window.width), dtypes)
        for part in (part for part in parts if image_id in part.image_ids):
            piece = store.load(_keys(series, part)[image_id])
            if piece is None:
                raise TransientError("A part of a request is gone from the folder of blocks; it is asked for again.")
            block.paste(piece, part.window.row - request.window.row, part.window.col - request.window.col)
        store.save(key, block)
    for part in parts:
        for key in _keys(series, part).values():
            store.discard(key)
