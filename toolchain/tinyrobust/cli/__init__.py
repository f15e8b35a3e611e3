"""The command line: a thin skin, one click command per file; ``main.py`` finds them."""
