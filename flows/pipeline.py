"""Fetching and writing side by side: a product is written as soon as all of its blocks are there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from prefect.futures import PrefectFuture

from eeflow.draft import Drafts
from eeflow.errors import AccessDenied, IncompleteProduct, LimitExceeded, RequestError, Stopped, TransientError
from eeflow.fetch import Control, Receipt
from eeflow.ledger import Entry
from eeflow.plan import Product
from flows.progress import Stage, stop_event
from flows.runner import BATCHES_AT_ONCE
from tasks.geotiff import Writing, make_groups, write_task
from tasks.region import Batch, Fetching, fetch_task, make_batches


@dataclass
class Tally:
    """What a run counts, what it wrote, and the errors it met.

    Attributes:
        written: entries by product key.
        failed: why a product could not be written, by its key.
        errors: why batches could not be fetched, and those of `failed`.
    """

    requests_before: int
    failures_before: int
    fetched: int = 0
    splits: int = 0
    cached: int = 0
    written: dict[str, Entry] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)

    @property
    def was_refused(self) -> bool:
        """Whether the endpoint does not take this kind of request, so that the other transport may serve instead."""
        refused = [e for e in self.errors if isinstance(e, RequestError) and not isinstance(e, AccessDenied)]
        return any(not isinstance(error, TransientError) or self.fetched == 0 for error in refused)

    @property
    def limit(self) -> LimitExceeded | None:
        """The limit that was met on the way."""
        return next((error for error in self.errors if isinstance(error, LimitExceeded)), None)

    def why_not(self, product: Product) -> Exception:
        """Why a product is not there."""
        unknown = self.limit or next(iter(self.errors), IncompleteProduct("its pixels were not fetched"))
        return self.failed.get(product.key, unknown)


def carry_out(writing: Writing, wanted: Sequence[Product], tally: Tally, fresh: bool) -> None:
    """Fetches what is missing of the wanted products and writes each as soon as it is complete.

    A batch whose blocks are all there is taken from Prefect's cache.
    """
    plan, store = writing.plan, writing.store
    batches = make_batches(plan)
    if fresh:
        for key in (key for batch in batches for key in batch.keys):
            store.discard(key)
    tally.cached += sum(store.has(key) for batch in batches for key in batch.keys)
    _Run(writing, [product for product in wanted if product.key not in tally.written], tally).carry_out(batches)


class _Run:
    """The tasks under way. Only the flow's own thread submits; tasks that end tell it through a queue."""

    def __init__(self, writing: Writing, wanted: Sequence[Product], tally: Tally):
        self.writing, self.tally = writing, tally
        self._ready: list[Product] = []
        # Of every block, there or not, for a batch that is still to come may look for it.
        self._needed_for = {key: product for product in wanted for _, _, key in writing.plan.blocks_of(product)}
        self._lacks = Counter(product.key for product in self._needed_for.values())
        self._under_way: dict[PrefectFuture[Any], list[Product] | Batch] = {}
        self._ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
        self._writes = Stage("write", len(wanted))
        writing.drafts = Drafts(writing.job, writing.plan, wanted, writing.store)

    def carry_out(self, batches: Sequence[Batch]) -> None:
        missing = {batch.number: batch.missing(self.writing.store) for batch in batches}
        waiting = deque(sorted(batches, key=lambda batch: missing[batch.number] > 0))
        stage = Stage("fetch", sum(missing.values()))
        drafts = self.writing.drafts
        control = Control(stage.advance, stop_event().is_set, on_kept=drafts.kept)
        fetching = Fetching(self.writing.job, self.writing.store, control)
        try:
            while waiting or self._under_way:
                while waiting and self._batches_under_way < BATCHES_AT_ONCE:
                    batch = waiting.popleft()
                    fetch = fetch_task.with_options(refresh_cache=bool(missing[batch.number]))
                    self._watch(fetch.submit(batch, fetching), batch)
                self._settle(self._ended.get())
        finally:
            control.stop.set()
            drafts.close()

    @property
    def _batches_under_way(self) -> int:
        return sum(isinstance(what, Batch) for what in self._under_way.values())

    def _watch(self, future: PrefectFuture[Any], what: Batch | list[Product]) -> None:
        self._under_way[future] = what
        future.add_done_callback(self._ended.put)

    def _settle(self, future: PrefectFuture[Any]) -> None:
        what, result = self._under_way.pop(future), future.result(raise_on_failure=False)
        if isinstance(result, Receipt):
            self.tally.fetched += 1
            self.tally.splits += result.splits
            self._arrived(result.keys)
            self._write_what_is_ready()
        elif isinstance(result, Exception):
            if not isinstance(result, Stopped):
                self.tally.errors.append(result)
        else:
            self._note(what, result)

    def _arrived(self, keys: Sequence[str]) -> None:
        for key in keys:
            if product := self._needed_for.pop(key, None):
                self._lacks[product.key] -= 1
                if not self._lacks[product.key]:
                    self._ready.append(product)

    def _write_what_is_ready(self) -> None:
        for group in make_groups(self.writing.plan, self._ready):
            self._watch(write_task.submit(self.writing, group), group)
        self._ready = []

    def _note(self, products: list[Product], outcomes: list[Entry | Exception]) -> None:
        for product, outcome in zip(products, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.tally.failed[product.key] = outcome
                self.tally.errors.append(outcome)
            else:
                self.tally.written[product.key] = outcome
            self._writes.advance()
