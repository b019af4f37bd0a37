"""What every mapping of the file has in common."""

# No `from __future__ import annotations`: pydantic evaluates these annotations.

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys. Unknown ones are errors: a misspelt key must not be a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
