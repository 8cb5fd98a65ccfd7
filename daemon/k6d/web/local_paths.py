"""Removes paths of this machine from responses; a client cannot use them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def without_folder(value: Any, data: Path) -> Any:
    """Remove the data folder's path from all texts and keys in `value`.

    Of "…/one-off/17c3/a.js", the file of a posted text, "a.js" is left.
    """
    if isinstance(value, str):
        folder = re.escape(str(data))
        shown = re.sub(rf"(?:file://)?{folder}/(?:one-off/[0-9a-f]+/)?", "", value)
        return re.sub(rf"{folder}(?![\w.-])", "the data folder", shown)
    if isinstance(value, dict):
        return {
            without_folder(key, data): without_folder(item, data) for key, item in value.items()
        }
    if isinstance(value, list):
        return [without_folder(item, data) for item in value]
    return value
