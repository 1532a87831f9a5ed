"""Removing read-only directory trees."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def remove_tree(root: Path) -> None:
    """Remove a tree whose directories may be read-only; follows no link, ignores what is gone already."""
    for directory, names, _ in os.walk(root):
        os.chmod(directory, 0o700)
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(root, ignore_errors=True)
