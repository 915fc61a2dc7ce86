"""`python -m streams`: run a stream worker."""

from streams.bootstrap import run

if __name__ == "__main__":
    run()
