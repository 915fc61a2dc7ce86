"""`python -m trainer`: answers drift alerts until SIGTERM or SIGINT."""

import signal
import sys

from trainer.bootstrap import run


def main() -> None:
    """Run the service. Stopping in the middle of a retraining is safe: the alert was not acknowledged, so it comes again."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(0))
    run()


if __name__ == "__main__":
    main()
