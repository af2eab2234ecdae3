"""A user's word for where to compute, or none, into a PyTorch device that exists.

Everything that takes ``device`` asks here, before work begins; torch is imported when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystalssl.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The device of a name; a CUDA GPU if there is one where none is named.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or whatever else PyTorch knows.

    Raises:
        InputError: if PyTorch knows no such device or this machine has none.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"Got device {str(device)!r}, expected 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (chosen.index or 0) >= counts.get(chosen.type, 0):
        raise InputError(
            f"Got device {str(device)!r}, but PyTorch finds {counts['cuda']} CUDA GPUs. Use 'cpu', "
            "leave the device out, or install PyTorch with CUDA."
        )
    return chosen
