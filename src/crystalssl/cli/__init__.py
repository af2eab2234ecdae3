"""The command line: each command parses its options, calls ``crystalssl.pipeline`` and prints.

The last layer of the flow. ``app`` holds the commands and turns errors into messages; one file
per group of commands. Nothing here is needed from Python.
"""

from crystalssl.cli.app import app, main

__all__ = ["app", "main"]
