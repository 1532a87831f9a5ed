"""AWS's own runtime interface clients for Node.js, as layers: unmodified packages of npm, built by scripts/setup.sh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.service.harness import zip_of
from tests.service.node_support import NEW, OLD

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

MODULES = Path(__file__).parents[1] / "javascript" / "node_modules"
FILES = {
    OLD: ("aws-lambda-ric-3", ("package.json", "bin/index.mjs", "dist/index.mjs", "dist/rapid-client.node")),
    NEW: ("aws-lambda-ric-4", ("package.json", "index.mjs", "rapid-client.node")),
}


def publish_client(functions: FunctionSet, runtime: str) -> str:
    """The ARN of a layer with the client of the time of ``runtime``: version 3, or 4 from nodejs24.x on."""
    package, files = FILES[runtime]
    folder = MODULES / package
    assert (folder / files[-1]).is_file(), f"{package} is not built: run scripts/test once, it installs npm's packages"
    content = {f"nodejs/node_modules/aws-lambda-ric/{name}": (folder / name).read_bytes() for name in files}
    published = functions.client.publish_layer_version(LayerName=package, Content={"ZipFile": zip_of(content)})
    return str(published["LayerVersionArn"])
