"""``python -m cnnbudget``."""

from cnnbudget.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
