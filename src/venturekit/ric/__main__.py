"""`python -m venturekit.ric app.handler`: serve one handler until the Runtime API goes away."""

from __future__ import annotations

import sys

from .bootstrap import run

if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.stderr.write("usage: python -m venturekit.ric [module.path.function]   (default: the variable _HANDLER)\n")
        raise SystemExit(2)
    run(sys.argv[1] if len(sys.argv) == 2 else None)
