"""Carrying out requests: ask, place, keep; split what is too large; many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from eeflow.blocks import BlockStore
from eeflow.errors import EEFlowError, RequestTooLarge, TransientError
from eeflow.plan import Request, Series
from eeflow.region import Block, decode, place, region_expression
from eeflow.session import Session


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


def fetch_batch(
    session: Session,
    series: Series,
    requests: Sequence[Request],
    store: BlockStore,
    workers: int,
    on_done: Callable[[], None] = lambda: None,
) -> Receipt:
    """Fetches what is missing of a batch, `workers` requests at a time; each block is kept as soon as it is there.

    A request that fails for a passing reason does not stop the others: they are finished and kept, so that trying the
    batch again asks for the failed ones only.

    Args:
        session: the connection.
        series: what the requests are of.
        requests: the batch.
        store: where blocks go.
        workers: threads.
        on_done: called after each request.

    Raises:
        TransientError: some requests failed and may succeed later.
        RequestError: Earth Engine refused one for good; the rest of the batch was not begun.
    """
    missing = [request for request in requests if not all(store.has(key) for key in _keys(series, request).values())]
    failed: list[TransientError] = []
    splits = 0
    with ThreadPoolExecutor(max(1, min(workers, len(missing))), thread_name_prefix="fetch") as pool:
        waiting = {pool.submit(_fetch_one, session, series, request, store) for request in missing}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    splits += _outcome(future, failed)
                    on_done()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failed:
        first = max(failed, key=lambda error: error.retry_after or 0)
        raise type(first)(
            f"{len(failed)} of {len(missing)} requests failed for now: {first}", first.status, first.retry_after
        )
    keys = tuple(key for request in requests for key in _keys(series, request).values())
    return Receipt(keys, len(missing), splits)


def _outcome(future: Future[int], failed: list[TransientError]) -> int:
    try:
        return future.result()
    except TransientError as error:
        failed.append(error)
        return 0


def _keys(series: Series, request: Request) -> dict[str, str]:
    return {scene_id: series.block_key(scene_id, request.bands, request.window) for scene_id in request.scene_ids}


def _fetch_one(session: Session, series: Series, request: Request, store: BlockStore) -> int:
    """Fetches one request's blocks into the store; returns how often it had to be split."""
    blocks, splits = _fetch(session, series, request)
    for scene_id, key in _keys(series, request).items():
        store.save(key, blocks[scene_id])
    return splits


def _fetch(session: Session, series: Series, request: Request) -> tuple[dict[str, Block], int]:
    try:
        body = session.compute(region_expression(series, request))
        return place(series, request, decode(body, request.bands)), 0
    except RequestTooLarge as error:
        parts = request.split()
        if len(parts) == 1:
            raise EEFlowError(
                f"Earth Engine finds even one pixel too much (row {request.window.row}, column {request.window.col}, "
                f"band {request.bands[0]}, scene {request.scene_ids[0]}): {error}"
            ) from error
    return _fetch_parts(session, series, request, parts)


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
