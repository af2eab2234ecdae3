"""``python -m crystalssl``: the command line where the ``crystalssl`` script is not on the path."""

from crystalssl.cli import main

if __name__ == "__main__":
    main()
