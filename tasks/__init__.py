"""How each step runs under Prefect: name, retries, cache, concurrency, logging. No domain logic."""

from prefect.client import base

_QUICKER = 10
_usual_interval = base.clamped_poisson_interval


def _interval(seconds: float, spread: float) -> float:
    """Seconds until Prefect's client asks a server again that was busy: it waits 2, 4, 8 and so on.

    SQLite refuses at once what meets another write, and is free again after milliseconds: of eight runs that began
    together, some stood still for 2 to 16 seconds. With 8 tries for 5 a server may be away as long as before.
    """
    return _usual_interval(seconds / _QUICKER, spread)


base.clamped_poisson_interval = _interval
