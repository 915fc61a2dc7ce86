"""A stream worker whose libraries log everything they can: `python -m tests.loud_worker`.

`configure_logs` quiets them, but a level that is set on a logger itself stays; so this is what a developer could see at worst.
"""

import logging

from streams.bootstrap import run

LOUD = ("aiokafka", "asyncio", "faust", "kafka", "mode", "redis")

if __name__ == "__main__":
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in LOUD and "." in name:
            logging.getLogger(name).setLevel(logging.DEBUG)
    run()
