"""What an ONNX model file says of itself, and the models that ship with nubila."""

from nubila.models_io.card import (
    CARD_KEY,
    BandUse,
    CalibrationError,
    ModelCard,
    OperatingPoint,
    TrainingSource,
)
from nubila.models_io.load import Model, load_model
from nubila.models_io.metadata import copy_with_card
from nubila.models_io.registry import find_model, list_models

__all__ = [
    "CARD_KEY",
    "BandUse",
    "CalibrationError",
    "Model",
    "ModelCard",
    "OperatingPoint",
    "TrainingSource",
    "copy_with_card",
    "find_model",
    "list_models",
    "load_model",
]
