"""The environment variables of the helper process: those of the service, by which AWS is found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def variables() -> Mapping[str, str]:
    """All of them."""
    return dict(os.environ)
