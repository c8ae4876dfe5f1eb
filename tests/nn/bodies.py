"""Every family of networks, narrow enough for tests."""

from __future__ import annotations

from functools import partial

from torch import nn

from nubila.nn.cloudnet import CloudNet
from nubila.nn.compact import CompactUNet
from nubila.nn.library import LibraryNetwork
from nubila.nn.recurrent import RecurrentResidual
from nubila.nn.simple import SimpleUNet
from nubila.nn.unet import UNet

OWN = {
    "compact": partial(CompactUNet, (8, 8, 8)),
    "unet": partial(UNet, (4, 6, 8)),
    "attention": partial(UNet, (4, 6, 8), gated=True),
    "r2": partial(UNet, (4, 6, 8), unit=RecurrentResidual),
    "simple": partial(SimpleUNet, (4, 6)),
    "tiny": partial(SimpleUNet, (4, 6), head=4),
    "cloudnet": partial(CloudNet, (4, 8, 16)),
}

# Small encoders; resnet34 and the like are the same code.
LIBRARY = {
    "resnet": partial(LibraryNetwork, "unet", "resnet18"),
    "linknet": partial(LibraryNetwork, "linknet", "resnet18"),
    "unetplusplus": partial(LibraryNetwork, "unetplusplus", "tu-tf_efficientnet_lite0"),
    "fpn": partial(LibraryNetwork, "fpn", "resnet18"),
    "deeplabv3plus": partial(LibraryNetwork, "deeplabv3plus", "resnet18"),
    "deeplabv3": partial(LibraryNetwork, "deeplabv3", "mobilenet_v2"),
    "segformer": partial(LibraryNetwork, "segformer", "mit_b0"),
    "resnest": partial(LibraryNetwork, "unet", "timm-resnest14d"),
}


def shaken(network: nn.Module) -> nn.Module:
    """Return the network with batch norms that are not the identity, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()
