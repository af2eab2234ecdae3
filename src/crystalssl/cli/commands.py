"""Functions of the pipeline to commands: their parameters become options, their docstring help.

So a command takes what its function takes, with the same defaults, and does what it does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from typing import Any

from crystalssl.cli.console import screen
from crystalssl.cli.options import OPTIONS, TEXTS

REQUIRED = inspect.Parameter.empty


def command(
    function: Callable[..., Any],
    *,
    scenario: type | None = None,
    show: Callable[[Any], None] | None = None,
    without: Collection[str] = (),
    required: Collection[str] = (),
    **replaced: Any,
) -> Callable[..., None]:
    """A function that typer turns into a command.

    Args:
        function: what the command does; its parameters that are in ``OPTIONS`` are options.
        scenario: options of a scenario; its fields are options too.
        show: prints what the function returns.
        without: parameters that the command does not have.
        required: parameters without which only the function works.
        replaced: options that differ from ``OPTIONS``, by parameter.
    """
    given = inspect.signature(function).parameters
    defaults = {name: parameter.default for name, parameter in given.items()}
    defaults |= dict.fromkeys(required, REQUIRED)
    own = {} if scenario is None else {f.name: f.default for f in fields(scenario)}
    if "settings" in defaults:
        defaults |= {"config": None, "assignments": None}
    if "untrained_features" in replaced:
        defaults["untrained_features"] = None
    known = OPTIONS | replaced
    options = {n: d for n, d in (defaults | own).items() if n in known and n not in without}

    def call(**values: Any) -> None:
        for name, (read, _) in TEXTS.items():
            if name in values:
                values[name] = read(values[name])
        if "settings" in given:
            from crystalssl.config import read_settings

            file, assignments = values.pop("config"), values.pop("assignments")
            values["settings"] = read_settings(file, assignments or ())
        if file := values.pop("untrained_features", None):
            values["also"] = {"untrained": file}
        if scenario is not None:
            values["scenario"] = scenario(**{name: values.pop(name) for name in own})
        result = function(**values, progress=screen)
        if show is not None:
            show(result)

    call.__doc__ = _help(function if scenario is None else scenario)
    call.__annotations__ = {name: known[name] for name in options}
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by typer
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(name, default),
                annotation=known[name],
            )
            for name, default in options.items()
        ]
    )
    return call


def _default(name: str, default: Any) -> Any:
    """A default as typer wants it."""
    if default in (REQUIRED, MISSING):
        return REQUIRED
    return TEXTS[name][1](default) if name in TEXTS else default


def _help(described: Any) -> str:
    """What a docstring says above its list of arguments."""
    return inspect.cleandoc(described.__doc__).partition("\n\nArgs:")[0]
