"""What an ONNX model file says of itself, and the models that ship with nubila."""

from nubila.models_io.card import CARD_KEY, BandUse, ModelCard, TrainingSource
from nubila.models_io.load import Model, load_model
from nubila.models_io.registry import find_model, list_models

__all__ = [
    "CARD_KEY",
    "BandUse",
    "Model",
    "ModelCard",
    "TrainingSource",
    "find_model",
    "list_models",
    "load_model",
]
