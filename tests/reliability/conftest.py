"""Fixtures of the reliability tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability.disk_faults import DiskFaults, compiled
from tests.reliability.stage import Stage
from tests.reliability.workload import QUEUE, Files

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


def prepare(files: Files, on_failure: str = "") -> Path:
    """A data directory that has the functions of a stage."""
    with Stage(files, on_failure=on_failure):
        pass
    return files.data_dir


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for stages."""
    return prepare(Files(tmp_path_factory.mktemp("prepared")))


@pytest.fixture(scope="session")
def prepared_with_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One where the records of some events go to a queue."""
    return prepare(Files(tmp_path_factory.mktemp("prepared-with-queue")), QUEUE)
