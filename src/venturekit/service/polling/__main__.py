"""The helper process, started by its path: the interpreter need not be told where the package lies."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from venturekit.service.polling.helper import main

    sys.exit(main(sys.argv[1:]))
