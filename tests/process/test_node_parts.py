"""Parts of the Node.js runtime by themselves, in a process of node's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from venturekit.service.environments.node_start import RUNTIME_DIRECTORY

SCRIPT = Path(__file__).with_name("node_parts.cjs")
PARTS = re.findall(r"^  '([^']+)'\(\) \{", SCRIPT.read_text(), re.MULTILINE)


def test_there_are_parts() -> None:
    assert len(PARTS) >= 7


@pytest.mark.parametrize("part", PARTS)
def test_a_part(part: str) -> None:
    command = ["node", str(SCRIPT), str(RUNTIME_DIRECTORY), part]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
