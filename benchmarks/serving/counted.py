"""What a server itself counted of its answers, by code of gRPC, where it serves metrics."""

import urllib.error
import urllib.request
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

_CODE = "code"
_TIMEOUT_S = 5.0


def counted_codes(address: str) -> dict[str, int]:
    """Requests by code, from the metrics at `address`; empty if it serves none."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as response:
            return codes_in(response.read().decode())
    except (urllib.error.URLError, OSError):
        return {}


def codes_in(text: str) -> dict[str, int]:
    """Requests by code in metrics as Prometheus reads them: of counters of requests that carry the label `code`."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        if family.type == "counter" and "request" in family.name:
            for each in family.samples:
                if _CODE in each.labels and each.name.endswith("_total"):
                    found[each.labels[_CODE]] += int(each.value)
    return dict(found)
