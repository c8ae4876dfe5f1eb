"""Lets torchvision be imported beside a PyTorch that it was not built for.

torchvision registers fake versions of its compiled operators when it is imported, and stops where
the compiled part could not be loaded (a CPU build of PyTorch beside torchvision's CUDA build). timm
and segmentation-models-pytorch import it and never call those operators, and so do torchmetrics
and Lightning; declaring the operators is all that is needed.
"""

from __future__ import annotations

from typing import Final

import torch

__all__ = ["declare_operators"]

_OPERATORS: Final = (
    ("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
    ("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
)


def declare_operators() -> None:
    """Declare torchvision's operators where importing it fails for want of them."""
    try:
        import torchvision  # noqa: F401 (imported to see whether it can be)
    except RuntimeError:
        for name, signature in _OPERATORS:
            torch.library.define(name, signature)
    except ModuleNotFoundError:
        return
