"""The base of every section of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """Text from a person: frozen, and an unknown key is an error."""

    # allow_inf_nan: a NaN in a recipe would pass every range check and surface hours later.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
