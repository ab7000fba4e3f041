"""How each step runs under Prefect: name, retries, cache, concurrency, logging. No domain logic."""
