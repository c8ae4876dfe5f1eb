"""Batch norms folded into the convolutions before them, for networks that are only run."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_norms"]


def fold_norms(network: nn.Module) -> None:
    """Fold, in place, each batch norm that follows a convolution in an `nn.Sequential`.

    Others stay, and compute the same; ONNX Runtime folds them when it loads a graph.

    Args:
        network: in evaluation mode.
    """
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        before: int | None = None  # where the convolution is that a batch norm would follow
        for place, part in enumerate(module):
            if before is not None and type(part) is nn.BatchNorm2d:
                module[before] = fuse_conv_bn_eval(cast(nn.Conv2d, module[before]), part)
                module[place] = nn.Identity()
            if type(part) is nn.Conv2d:
                before = place
            elif not isinstance(part, nn.Dropout):  # which lets everything through when run
                before = None
