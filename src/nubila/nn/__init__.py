"""Networks and losses in plain PyTorch; the one place that says which extra PyTorch comes with."""

from nubila.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401 (imported only to name the extra where it is missing)
except ModuleNotFoundError as error:
    raise MissingExtraError("torch", extra="train") from error

from nubila.nn.compact import BAND_ORDER, CLASS_ORDER, CompactUNet
from nubila.nn.losses import partial_cross_entropy

__all__ = ["BAND_ORDER", "CLASS_ORDER", "CompactUNet", "partial_cross_entropy"]
