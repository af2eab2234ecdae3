"""The command line: each command turns files into files by calling the layers below.

The last layer of the flow. ``app`` holds the commands and turns errors into messages; one file
per family of commands; ``run`` strings all stages together. Nothing here is needed from Python.
"""

from crystalssl.cli.app import app, main

__all__ = ["app", "main"]
