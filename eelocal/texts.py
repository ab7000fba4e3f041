"""Sentences of Earth Engine that several modules answer with, word for word, and where each was seen."""

from __future__ import annotations

# recorded: HttpError 429 of value:compute
TOO_MANY_REQUESTS = (
    "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
)
# recorded: gee-community/qgis-earthengine-plugin#202
QUOTA_EXCEEDED = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user' "
    "of service 'earthengine.googleapis.com' for consumer 'project_number:{number}'."
)
# documented: https://developers.google.com/earth-engine/guides/debugging
TOO_MANY_AGGREGATIONS = "Quota exceeded: Too many concurrent aggregations."
MEMORY_LIMIT = "User memory limit exceeded."  # recorded with its body: gee-community/geemap#1465
TIMED_OUT = "Computation timed out."  # recorded text
CAPACITY = "Earth Engine memory capacity exceeded."  # recorded text, 503 by openet-core's retry list
INTERNAL = "An internal error has occurred"  # recorded text
UNAVAILABLE = "The service is currently unavailable."  # Google's usual words for a 503
PAYLOAD = "Request payload size exceeds the limit: {limit} bytes."  # recorded: gee-community/geemap#1013, #1525
