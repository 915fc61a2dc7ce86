"""`python -m monitor`: the service."""

from monitor.bootstrap import main

if __name__ == "__main__":
    main()
