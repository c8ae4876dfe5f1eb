"""Networks and losses in plain PyTorch; the one place that says which extra PyTorch comes with."""

from nubila.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401 (imported only to name the extra where it is missing)
except ModuleNotFoundError as error:
    raise MissingExtraError("torch", extra="train") from error

from nubila.nn._torchvision import declare_operators

declare_operators()

from nubila.nn.build import build_network  # noqa: E402 (torchvision has to be mended first)
from nubila.nn.compact import CompactUNet  # noqa: E402
from nubila.nn.losses import partial_cross_entropy  # noqa: E402
from nubila.nn.segmenter import Segmenter  # noqa: E402

__all__ = ["CompactUNet", "Segmenter", "build_network", "partial_cross_entropy"]
