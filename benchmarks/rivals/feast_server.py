"""Feast's own feature server over our definitions, with one worker that is never replaced; its settings are `HABITUS_*`."""

import argparse

from feature_repo.store import open_store
from runtime.settings import Settings


def main() -> None:
    """`python -m benchmarks.rivals.feast_server --address HOST:PORT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    host, _, port = parser.parse_args().address.rpartition(":")
    open_store(Settings()).serve(host, int(port), no_access_log=True, max_requests=0, max_requests_jitter=0)


if __name__ == "__main__":
    main()
