"""Every recorded text of Earth Engine and the class it must become, which decides what is split and retried."""

import pytest

from eeflow.errors import (
    AccessDenied,
    BadAnswer,
    EEFlowError,
    RequestError,
    RequestTooLarge,
    TooManyRequests,
    TransientError,
    UserError,
    request_error,
)

S2 = "ImageCollection.getRegion: Too many values: 26027 points x 4 bands x 19 images > 1048576."
S1 = "ImageCollection.getRegion: Too many values: 658739 points x 1 bands x 4 images > 1048576."
QUOTA = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user' "
    "of service 'earthengine.googleapis.com' for consumer 'project_number:599401802498'."
)
MAPPED = (
    "Collection.first: Error in map(ID=1_1_LE07_172039_20230403):\nImage.select: Pattern 'SR_3' did not match any "
    "bands. Available bands: [...]"
)
NO_COLLECTION = (
    "ImageCollection.load: ImageCollection asset 'X' not found (does not exist or caller does not have access)."
)
REDUCED = "Image.reduceRegion: Too many pixels in the region. Found 80300348117, but only 10000000 allowed."
DENIED = "Permission 'earthengine.assets.get' denied on resource 'projects/P/assets/X' (or it may not exist)."
BUSY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
DAILY = "Your usage exceeded the custom quota for 'earthengine.googleapis.com/daily_eecu_usage_time', ..."

RECORDED = [
    (400, "User memory limit exceeded.", RequestTooLarge),
    (400, S2, RequestTooLarge),
    (400, S1, RequestTooLarge),
    (400, "ImageCollection.getRegion: No bands in collection.", RequestError),
    (400, "Computation timed out.", RequestTooLarge),
    (
        400,
        "Image.select: Band pattern 'B4' did not match any bands. Available bands: [Blue, Green, Red]",
        RequestError,
    ),
    (400, "Image.select: Pattern 'pixel_qa' did not match any bands.", RequestError),
    (400, MAPPED, RequestError),
    (400, NO_COLLECTION, RequestError),
    (400, "Image.load: Image asset 'X' not found (does not exist or caller does not have access).", RequestError),
    (400, "Request payload size exceeds the limit: 10485760 bytes.", RequestError),
    (
        400,
        "Total request size (56623104 bytes) must be less than or equal to 50331648 bytes.",
        RequestTooLarge,
    ),
    (400, "Pixel grid dimensions (40818x1) must be less than or equal to 32768.", RequestTooLarge),
    (400, "Pixel grid dimensions (432000x144000) must be less than or equal to 10000.", RequestTooLarge),
    (400, "Image.sampleRectangle: Too many pixels in sample; must be <= 262144. Got 287832.", RequestError),
    (400, REDUCED, RequestError),
    (400, "Collection query aborted after accumulating over 5000 elements.", RequestError),
    (429, BUSY, TooManyRequests),
    (429, QUOTA, TooManyRequests),
    (429, "Quota exceeded: Too many concurrent aggregations.", TooManyRequests),
    (503, "Earth Engine memory capacity exceeded.", TransientError),
    (500, "An internal error has occurred", TransientError),
    (403, DENIED, AccessDenied),
    # From the guides, beside the recordings.
    (400, "Computed value is too large", RequestTooLarge),
    (503, "Earth Engine capacity exceeded", TransientError),
    (429, DAILY, TooManyRequests),
]


@pytest.mark.parametrize(("status", "message", "kind"), RECORDED)
def test_recorded_text_becomes_its_class(status, message, kind):
    error = request_error(status, message)
    assert type(error) is kind
    assert error.status == status
    assert message.strip() in str(error)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        # Neither status nor a misleading word decides against the text.
        (400, "Quota exceeded: Too many concurrent aggregations.", TooManyRequests),
        (400, "Earth Engine memory capacity exceeded.", TransientError),
        (500, "User memory limit exceeded.", RequestTooLarge),
        (429, "User memory limit exceeded.", RequestTooLarge),
    ],
)
def test_text_decides_before_the_status(status, message, kind):
    assert type(request_error(status, message)) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, RequestError),
        (408, TransientError),
        (413, RequestError),
        (418, RequestError),
        (429, TooManyRequests),
        (500, TransientError),
        (501, RequestError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
    ],
)
def test_status_decides_for_unknown_texts(status, kind):
    assert type(request_error(status, "never seen before")) is kind


def test_retry_after_is_kept_for_transient_errors_only():
    assert request_error(429, "Too Many Requests", 7.5).retry_after == 7.5
    assert not hasattr(request_error(400, "No bands in collection.", 7.5), "retry_after")


def test_what_is_split_is_never_retried_as_it_is():
    assert not issubclass(RequestTooLarge, TransientError)
    assert not issubclass(AccessDenied, TransientError)
    assert issubclass(TooManyRequests, TransientError)
    assert issubclass(BadAnswer, TransientError)
    assert not issubclass(RequestError, UserError)
    assert issubclass(RequestError, EEFlowError)
