"""Settings from outside: a TOML file and single assignments onto the dataclasses that hold defaults.

Sections are ``training`` (``TrainConfig``), ``bottleneck`` and the name of every block. What is not
given keeps its default; the effective settings are saved with every output.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from crystalssl.config import TrainConfig, get_preset
from crystalssl.errors import InputError, missing_extra, unknown_name

Settings = Mapping[str, Mapping[str, Any]]
"""Values of settings by section and field."""
TRAINING, BOTTLENECK = "training", "bottleneck"
"""Sections that are no blocks."""
WHERE = "crystalssl config show"
"""Command that lists every setting."""
Config = TypeVar("Config")


def read_settings(file: Path | None, assignments: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Settings of a TOML file, and of texts like ``sites.move_ratio=0.4``, which win.

    Raises:
        InputError: if the file is no TOML of sections, or a text is no assignment.
        UnknownNameError: if a section or a setting does not exist.
    """
    settings = _read_toml(file) if file is not None else {}
    for text in assignments:
        name, equals, value = text.partition("=")
        section, dot, field = name.strip().partition(".")
        if not (equals and dot and section and field):
            raise InputError(
                f"Got --set {text!r}, expected SECTION.SETTING=VALUE, for instance "
                "training.epochs=20 or sites.move_ratio=0.4."
            )
        settings.setdefault(section, {})[field] = _value(value.strip())
    check_settings(settings)
    return settings


def _read_toml(file: Path) -> dict[str, dict[str, Any]]:
    """Sections of a TOML file."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        try:
            import tomli as tomllib
        except ImportError as error:
            raise missing_extra("tomli", "toml", "--config on Python 3.10") from error
    try:
        sections = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Found no settings file {file}. Check the path of --config.") from error
    except ValueError as error:  # TOML and encoding
        raise InputError(f"{file} is not TOML ({error}). Mend it and try again.") from error
    for name, values in sections.items():
        if not isinstance(values, dict):
            raise InputError(
                f"{file} sets {name!r} outside of a section; expected for instance [training] "
                f"above it. See `{WHERE}`."
            )
    return sections


def _value(text: str) -> Any:
    """A number, true, false, a list, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_settings(settings: Settings) -> None:
    """Refuse settings that do not exist or cannot work, before any work.

    Raises:
        InputError: if a value is of another type or cannot work.
        UnknownNameError: if a section or a setting does not exist.
    """
    if not settings:
        return
    from crystalssl.blocks.registry import known_blocks
    from crystalssl.features.bottleneck_training import BottleneckConfig

    defaults = {TRAINING: TrainConfig(), BOTTLENECK: BottleneckConfig()}
    defaults |= {block.name: block.Config() for block in known_blocks()}
    for section, values in settings.items():
        if section not in defaults:
            raise unknown_name("section of settings", section, defaults, WHERE)
        configured(defaults[section], values, section)


def configured(config: Config, values: Mapping[str, Any], section: str) -> Config:
    """A configuration with some of its fields replaced.

    Raises:
        InputError: if a value is of another type or cannot work.
        UnknownNameError: if a field does not exist.
    """
    kinds = get_type_hints(type(config))
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]  # a dataclass
    changes = {}
    for name, value in values.items():
        if name not in known:
            raise unknown_name(f"setting of {section}", name, known, WHERE)
        changes[name] = _fitting(value, kinds[name], f"{section}.{name}")
    try:
        return replace(config, **changes)  # type: ignore[type-var]  # a dataclass
    except (TypeError, ValueError) as error:
        raise InputError(f"Settings of {section} cannot work: {error}. See `{WHERE}`.") from error


def _fitting(value: Any, kind: Any, name: str) -> Any:
    """A value in the type of its field; whole numbers pass for numbers, lists for tuples."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        origin = get_origin(option) or option
        if origin is tuple and isinstance(value, list | tuple):
            return tuple(value)
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(origin, type):
            if isinstance(value, origin) and (origin is bool or not isinstance(value, bool)):
                return value
        elif value in get_args(option):  # Literal
            return value
    expected = " or ".join(_words(option) for option in options)
    raise InputError(f"Setting {name} is {value!r}, expected {expected}. See `{WHERE}`.")


def _words(kind: Any) -> str:
    """A type as a person says it."""
    if isinstance(kind, type):
        names = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        return names.get(kind.__name__, kind.__name__)
    return ", ".join(str(choice) for choice in get_args(kind)) or str(kind)


def training_config(preset: str, settings: Settings, **changes: int | None) -> TrainConfig:
    """The settings of a preset, with those of a file, with those given one by one.

    Args:
        preset: its name.
        settings: see above.
        changes: fields of ``TrainConfig``; None leaves one as it is.

    Raises:
        InputError: if a value cannot work.
        UnknownNameError: if there is no such preset or setting.
    """
    config = configured(get_preset(preset), settings.get(TRAINING, {}), TRAINING)
    return config.updated({name: value for name, value in changes.items() if value is not None})
