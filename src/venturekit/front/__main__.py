"""The front process, started by its path: the interpreter need not be told where the package lies."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from venturekit.front.process import main

    sys.exit(main())
