"""The base of the bodies that routes take."""

from __future__ import annotations

from pydantic import BaseModel


class Body(BaseModel, extra="forbid"):
    """A JSON body. An unknown field may be a misspelt one, so it is refused with 422."""
