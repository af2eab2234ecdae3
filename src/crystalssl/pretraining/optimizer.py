"""The optimizer of a run: Adam with decoupled weight decay, constant or one-cycle.

Read by ``loop.py``; which parameters decay is decided here, once for every block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from crystalssl.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig, steps: int) -> Any:
    """Optimizer and schedule in the form Lightning asks for.

    Args:
        model: what is trained.
        config: learning rate, weight decay, schedule, warm-up.
        steps: optimizer steps of the whole run.
    """
    groups = decay_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    if config.schedule == "constant":
        return optimizer
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(steps, 2), pct_start=config.warmup
    )
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters with and without weight decay: matrices decay, vectors and embeddings do not."""
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in trained if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
