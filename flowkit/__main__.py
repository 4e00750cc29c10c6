"""``python -m flowkit`` is the command line ``flowkit``."""

from flowkit.cli.main import main

if __name__ == "__main__":
    main()
