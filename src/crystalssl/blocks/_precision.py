"""What stays in the precision it came in when the rest of a block runs in bf16.

Automatic mixed precision rounds every product of matrices to three digits: enough for hidden
states, too little for geometry (targets, baselines, differences of vectors) and for sums over many
sites. Without mixed precision nothing here changes a number.
"""

from __future__ import annotations

import torch
from torch import Tensor


def exact(tensor: Tensor) -> torch.autocast:
    """A context without mixed precision on the device of a tensor."""
    return torch.autocast(tensor.device.type, enabled=False)


def widened(values: Tensor) -> Tensor:
    """The same numbers in float32 if they are in less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
