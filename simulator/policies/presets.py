"""Published defaults of clients and guides, by name: ``retry: {preset: finagle}``.

Each preset says what its source says and nothing else; the rest keeps this program's defaults. A
field that is written beside ``preset`` holds instead of the preset's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

RetryPreset = Literal[
    "aws_standard",
    "finagle",
    "grpc",
    "sre_per_request",
    "sre_per_client",
    "sre_server_wide",
    "brooker_token_bucket",
]

RETRY_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # AWS SDKs reference guide, retry behaviour, standard mode: three attempts, exponential backoff
    # with full jitter up to 20 s, a client-side quota. The quota's sizes (500, 5 a retry) are from
    # the SDKs' code: 100 retries, one earned back by five successes.
    "aws_standard": {
        "retries_max": 2,
        "backoff": "exponential",
        "backoff_cap": "20s",
        "jitter": "full",
        "budget": {"deposit": "per_success", "ratio": 0.2, "bucket": 100},
    },
    # Finagle blog 2016, "Retry budgets": 20 % of requests and at least ten a second, 10 s.
    "finagle": {
        "retries_max": 2,
        "budget": {"deposit": "windowed", "ratio": 0.2, "window": "10s", "min_rate": "10/s"},
    },
    # gRPC proposal A6 and its test vector: maxTokens and tokenRatio are the service owner's to set;
    # its example has 10 and 0.1.
    "grpc": {
        "retries_max": 4,
        "backoff": "exponential",
        "budget": {"deposit": "throttle", "ratio": 0.1, "bucket": 10},
    },
    # Site Reliability Engineering 2016, ch. 21: at most three attempts a request …
    "sre_per_request": {"retries_max": 2},
    # … and a client's retries below a tenth of its requests (growth 1.1 instead of 3).
    "sre_per_client": {
        "retries_max": 2,
        "budget": {"deposit": "windowed", "ratio": 0.1, "window": "2m", "min_rate": "0/s"},
    },
    # The same book, ch. 22: a server-wide budget, e.g. 60 retries a minute and process.
    "sre_server_wide": {
        "retries_max": 2,
        "budget": {"deposit": "windowed", "ratio": 0.0, "window": "1m", "min_rate": "60/min"},
    },
    # Brooker 2022, simulator code: deposit 0.1 with every call, cost 1, size 5.
    "brooker_token_bucket": {
        "retries_max": 3,
        "budget": {"deposit": "per_first_try", "ratio": 0.1, "bucket": 5},
    },
}


def filled_in(presets: Mapping[str, Mapping[str, Any]], data: Any) -> Any:  # noqa: ANN401 - a file's
    """Return ``data`` with what its preset says of fields that it does not name."""
    if not isinstance(data, dict) or data.get("preset") not in presets:
        return data
    return {**presets[data["preset"]], **data}
