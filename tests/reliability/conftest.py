"""Fixtures of the reliability tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability.disk_faults import DiskFaults, compiled

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def faults_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    return compiled(tmp_path_factory.mktemp("disk-faults"))


@pytest.fixture
def faults(faults_library: Path, tmp_path: Path) -> DiskFaults:
    """The faults of one service."""
    return DiskFaults(faults_library, tmp_path / "disk-faults")
