"""Fetches packages of npm without what they depend on: AWS's runtime interface clients for Node.js, and an extension.

The clients' native part is built from their own sources.

What ``npm install`` runs for them builds libcurl first, with autoconf, libtool and cmake, which takes minutes. Here the
same C++ files are compiled against node's stable headers, with the machine's libcurl in the place of that one: seconds.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).with_name("node_modules")
PACKAGE = "aws-lambda-ric"
FETCH_SECONDS = 120
COMPILE_SECONDS = 300
# Included by the sources, which use nothing of them; what they use is in node-api-headers.
UNUSED_HEADERS = ("uv.h", "v8.h", "node.h")
VERSION_FILE = """
#include "aws/lambda-runtime/version.h"
namespace aws {{ namespace lambda_runtime {{
unsigned get_version_major() {{ return {0}; }}
unsigned get_version_minor() {{ return {1}; }}
unsigned get_version_patch() {{ return {2}; }}
char const* get_version() {{ return "{0}.{1}.{2}"; }}
}} }}
"""


class ClientError(Exception):
    """A client cannot be fetched or built."""


@dataclass(frozen=True)
class Client:
    """One version of the package, with the hash of its archive, its source of C++ and where what is built belongs."""

    version: str
    integrity: str
    source: str
    built: str

    @property
    def folder(self) -> Path:
        return MODULES / f"{PACKAGE}-{self.version.partition('.')[0]}"


CLIENTS = (
    Client(
        "3.3.0",
        "sha512-9p06TbKVK4a050NY/vYOxhMHvnIiUu5o1W0//q6yNLSqA/c91pn4BOj3C3sRTpplkUNsGJdU5qWyU2STo6L8hA==",
        "src/rapid-client.cc",
        "dist/rapid-client.node",
    ),
    Client(
        "4.0.2",
        "sha512-FE5Vskx7mYNnqAnWWJXUOsLp2VGgdsJsCoRLFTa8L4Yk0QVtArqR8q58yPA++QC1a73ZWJXBQ2AH31nIAv7NOQ==",
        "src/native/rapid-client.cc",
        "rapid-client.node",
    ),
)


@dataclass(frozen=True)
class Extension:
    """A package with an extension for layers that needs nothing else, and the hash of its archive."""

    package: str
    version: str
    integrity: str
    folder: Path


EXTENSION = Extension(
    "@sentry/aws-serverless",
    "10.75.2",
    "sha512-PuJby/ZJbMExb6CCyuiVCxo2/s2j0Rb0j381smLdRX+RDqgK7Uik0ceiA2Vo+JVDEEQAcufC8tp2ct9i9ZCuqQ==",
    MODULES / "sentry-extension",
)


def fetch(client: Client | Extension, scratch: Path) -> None:
    """Bring the package to its folder. Raises ClientError when it is not the one of this hash."""
    package = PACKAGE if isinstance(client, Client) else client.package
    command = ["npm", "pack", "--silent", f"{package}@{client.version}"]
    subprocess.run(command, cwd=scratch, check=True, timeout=FETCH_SECONDS, stdout=subprocess.DEVNULL)
    (archive,) = scratch.glob("*.tgz")
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != client.integrity:
        raise ClientError(f"it is not the package that is expected: its hash is {found}")
    client.folder.mkdir(parents=True, exist_ok=True)
    unpack(archive, client.folder, strip=1)


def unpack(archive: Path, folder: Path, strip: int = 0) -> None:
    """Write the files of ``archive`` below ``folder``, without the first ``strip`` parts of their names."""
    with tarfile.open(archive) as content:
        for entry in content:
            path = folder.joinpath(*Path(entry.name).parts[strip:])
            # macOS packs a companion of that name with each file.
            if entry.isfile() and ".." not in path.parts and not path.name.startswith("._"):
                path.parent.mkdir(parents=True, exist_ok=True)
                data = content.extractfile(entry)
                path.write_bytes(data.read() if data else b"")


def build(client: Client, scratch: Path) -> None:
    """Compile and link the native part."""
    for archive in (client.folder / "deps").glob("*.tar.*"):
        unpack(archive, scratch)
    (runtime,) = scratch.rglob("src/runtime.cpp")
    (curl,) = scratch.rglob("include/curl/curl.h")
    unused = scratch / "unused"
    unused.mkdir()
    for name in UNUSED_HEADERS:
        (unused / name).touch()
    project = (runtime.parents[1] / "CMakeLists.txt").read_text()
    found = re.search(r"VERSION (\d+)\.(\d+)\.(\d+)\n", project)
    version = scratch / "version.cpp"
    version.write_text(VERSION_FILE.format(*(found.groups() if found else "000")))
    folders = (unused, MODULES / "node-api-headers/include", MODULES / "node-addon-api", runtime.parents[1] / "include")
    headers = [f"-I{folder}" for folder in (*folders, curl.parents[1])]
    sources = map(str, (client.folder / client.source, runtime, runtime.with_name("logging.cpp"), version))
    settings = ["-DNODE_GYP_MODULE_NAME=rapid_client", "-DNAPI_CPP_EXCEPTIONS", "-DAWS_LAMBDA_LOG=0"]
    options = ["-std=c++17", "-shared", "-fPIC", "-O1", "-s", "-w", "-fvisibility=hidden"]
    target = ["-l:libcurl.so.4", "-o", str(client.folder / client.built)]
    command = ["g++", *options, *settings, *headers, *sources, *target]
    subprocess.run(command, check=True, timeout=COMPILE_SECONDS)


def main() -> int:
    """Exit status 1 when a package cannot be had, after saying why."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            fetch(EXTENSION, Path(scratch))
        except (ClientError, OSError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
            print(f"{EXTENSION.package} {EXTENSION.version} cannot be had: {error}", file=sys.stderr)
            return 1
    for client in CLIENTS:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                fetch(client, Path(scratch))
                build(client, Path(scratch))
            except (ClientError, OSError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
                print(f"{PACKAGE} {client.version} cannot be had: {error}", file=sys.stderr)
                print("It needs npm, g++ and libcurl.so.4 (Debian: apt-get install npm g++ libcurl4).", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
