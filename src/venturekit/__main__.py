"""``python -m venturekit``: the same as ``vk``."""

from __future__ import annotations

import sys

from venturekit.cli import main

if __name__ == "__main__":
    sys.exit(main())
