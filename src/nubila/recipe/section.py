"""The base of every section of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from nubila.bands import band_name
from nubila.errors import BandError

__all__ = ["ImageWeights", "Section", "known_band"]


def known_band(name: str) -> str:
    """Return a band's common name.

    Raises:
        ValueError: it is unknown; Pydantic puts the key to it, and the recipe its file and line.
    """
    try:
        return band_name(name)
    except BandError as error:
        raise ValueError(str(error)) from error


def _weights(weights: dict[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"weight {weight} of {name!r} is negative")
        if name.endswith("/"):
            raise ValueError(f"{name!r} ends in a slash; give {name.rstrip('/')!r}")
    return weights


# Folder, or beginning of an image's name with a slash in it -> how often it is drawn.
ImageWeights = Annotated[dict[str, float], AfterValidator(_weights)]


class Section(BaseModel):
    """Text from a person: frozen, and an unknown key is an error."""

    # allow_inf_nan: a NaN in a recipe would pass every range check and surface hours later.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
