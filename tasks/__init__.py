"""How each step runs under Prefect: name, retries, cache, concurrency, logging. No domain logic."""

import random

from prefect.client import base

from eeflow.memory import stay_small

_QUICKER = 10


def _interval(seconds: float, _spread: float) -> float:
    """Seconds until Prefect's client asks a server again that was busy: it waits 2, 4, 8 and so on, give or take a bit.

    SQLite refuses at once what meets another write, and is free again after milliseconds: of eight runs that began
    together some stood still for half a minute, asking again in step. With 8 tries for 5 a server may be away as long.
    """
    return random.uniform(0, 2 * seconds / _QUICKER)


base.clamped_poisson_interval = _interval

# Before any thread that runs tasks, in whichever process that is.
stay_small()
