"""The connection to Earth Engine, as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.session import current_session
from tasks.policies import RETRY

# Fewer tries than for pixels: an endpoint that is not there is most often a wrong one, and nothing has been spent yet.
connect_task = task(name="connect", cache_policy=NO_CACHE, **RETRY | {"retries": 3})(current_session)
