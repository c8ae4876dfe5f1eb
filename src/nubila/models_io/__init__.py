"""What an ONNX model file says of itself, and the models that ship with nubila."""

from nubila.models_io.card import CARD_KEY, BandUse, ModelCard, TrainingSource
from nubila.models_io.load import Model, load_model

__all__ = ["CARD_KEY", "BandUse", "Model", "ModelCard", "TrainingSource", "load_model"]
