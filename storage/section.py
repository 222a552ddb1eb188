"""The base of every section of params.yaml: unknown keys are refused, values never change after reading."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section's schema; it lives beside the code that it configures."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
