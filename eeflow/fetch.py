"""Carrying out requests: ask, place, keep; split what is too large; many at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace

from eeflow.blocks import Block, BlockStore
from eeflow.errors import BadAnswer, RequestError, RequestTooLarge, Stopped, TooManyRequests, TransientError
from eeflow.series import Request, Series
from eeflow.session import Session
from eeflow.transport import TRANSPORTS, Transport

# How often a request may be refused as one too many before its task has to wait and try the batch again.
ADMISSIONS = 5
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
    """What a run's batches share: whom to tell of each settled request, and when to stop.

    Attributes:
        on_done: called after each request whose blocks are kept.
        stop: once set, no further request is begun.
    """

    on_done: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)

    def __reduce__(self) -> tuple[type[Control], tuple[()]]:
        """In another process neither the callback nor the event means anything: a new control goes there."""
        return Control, ()


def fetch_batch(
    session: Session, series: Series, requests: Sequence[Request], store: BlockStore, workers: int, control: Control
) -> Receipt:
    """Fetches what is missing of a batch, `workers` requests at a time; each block is kept as soon as it is there.

    A request that fails for a passing reason does not stop the others: they are finished and kept, so that trying the
    batch again asks for the failed ones only. One that Earth Engine refuses for good stops the whole run.

    Raises:
        TransientError: some requests failed and may succeed later.
        RequestError: Earth Engine refused one for good.
        Stopped: the run was told to stop.
    """
    missing = missing_requests(series, requests, store)
    failed: list[TransientError] = []
    splits = 0
    with ThreadPoolExecutor(max(1, min(workers, len(missing))), thread_name_prefix="fetch") as pool:
        futures = [pool.submit(_fetch_one, session, series, request, store, control) for request in missing]
        for future in as_completed(futures):
            try:
                splits += future.result()
            except TransientError as error:
                failed.append(error)
            except BaseException:
                control.stop.set()  # those still waiting in the pool end at once
                raise
    if failed:
        worst = max(failed, key=lambda error: error.retry_after or 0)
        text = str(worst) if len(missing) == 1 else f"{len(failed)} of {len(missing)} requests failed: {worst}"
        raise type(worst)(text, worst.status, worst.retry_after)
    return Receipt(batch_keys(series, requests), len(missing), splits)


def batch_keys(series: Series, requests: Sequence[Request]) -> tuple[str, ...]:
    """Keys of all blocks that the requests of a batch bring."""
    return tuple(key for request in requests for key in _keys(series, request).values())


def missing_requests(series: Series, requests: Sequence[Request], store: BlockStore) -> list[Request]:
    """The requests, each for those of its scenes only whose blocks are not in the store."""
    wanted = []
    for request in requests:
        absent = tuple(scene_id for scene_id, key in _keys(series, request).items() if not store.has(key))
        if absent:
            wanted.append(replace(request, scene_ids=absent))
    return wanted


def _keys(series: Series, request: Request) -> dict[str, str]:
    return {scene_id: series.block_key(scene_id, request.bands, request.window) for scene_id in request.scene_ids}


def _fetch_one(session: Session, series: Series, request: Request, store: BlockStore, control: Control) -> int:
    """Fetches one request's blocks into the store; returns how often it had to be split."""
    if control.stop.is_set():
        raise Stopped("The run was stopped before this request was sent.")
    blocks, splits = _fetch(session, series, request)
    for scene_id, key in _keys(series, request).items():
        store.save(key, blocks[scene_id])
    control.on_done()
    return splits


def _fetch(session: Session, series: Series, request: Request) -> tuple[dict[str, Block], int]:
    transport = TRANSPORTS[request.transport]
    try:
        body = _ask(transport, session, series, request)
        with _decoding:
            return transport.read(body, series, request), 0
    except BadAnswer:
        session.count_failure()
        raise
    except RequestTooLarge as error:
        parts = request.split()
        if len(parts) == 1:
            raise RequestError(
                f"Earth Engine finds even one pixel too much (row {request.window.row}, column {request.window.col}, "
                f"band {request.bands[0]}, scene {request.scene_ids[0]}): {error}",
                error.status,
            ) from error
    return _fetch_parts(session, series, request, parts)


def _ask(transport: Transport, session: Session, series: Series, request: Request) -> bytes:
    """Sends a request; one refused for being one too many queues again at the gate, which is narrower by then."""
    for _ in range(ADMISSIONS - 1):
        try:
            return transport.ask(session, series, request)
        except TooManyRequests:
            continue
    return transport.ask(session, series, request)


def _fetch_parts(
    session: Session, series: Series, request: Request, parts: Sequence[Request]
) -> tuple[dict[str, Block], int]:
    shape = (request.window.height, request.window.width)
    dtypes = {name: series.band(name).dtype for name in request.bands}
    whole = {scene_id: Block.empty(shape, dtypes) for scene_id in request.scene_ids}
    splits = 1
    for part in parts:
        blocks, deeper = _fetch(session, series, part)
        splits += deeper
        for scene_id, block in blocks.items():
            whole[scene_id].paste(block, part.window.row - request.window.row, part.window.col - request.window.col)
    return whole, splits
