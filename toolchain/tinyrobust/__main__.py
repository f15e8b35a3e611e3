"""``python -m tinyrobust``: the same as the console script."""

from tinyrobust.cli.main import main

if __name__ == "__main__":
    main()
