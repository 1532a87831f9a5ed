"""Starts our runtime interface client in a process of its own: ``<interpreter> ric_spawn.py [<ric folder> <handler>]``.

The fork server's stand-in (``--python-start spawn``). Without arguments, for wrappers that put options before the last
one, the folder is where it lies beside this file, and the handler is that of the environment. It imports nothing of the
project by name: the client's folder may lie in another interpreter's site-packages, which functions must not see.
"""

from __future__ import annotations

import importlib.util
import os
import site
import sys


def main() -> None:
    """Load the client from its folder and hand it the process."""
    folder, handler = sys.argv[1:3] if len(sys.argv) > 2 else (_folder(), os.environ.get("_HANDLER", ""))
    # It was started without `site` and the packages that brings; the built-ins are part of the language's surface.
    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.argv = ["bootstrap.py", handler]
    # The folder of this script is the service's own: functions must not import from it.
    sys.path[0] = os.environ.get("LAMBDA_TASK_ROOT", os.getcwd())
    spec = importlib.util.spec_from_file_location(
        "_venturekit_ric", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.run(handler)


def _folder() -> str:
    # In the package it is the one above's, in a function's own root folder it is shown beside this file.
    here = os.path.dirname(os.path.abspath(__file__))
    beside = os.path.join(here, "ric")
    return beside if os.path.isdir(beside) else os.path.join(os.path.dirname(os.path.dirname(here)), "ric")


if __name__ == "__main__":
    main()
