"""`python -m dp_coordinator` is `dp-coordinator`."""

from dp_coordinator.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
