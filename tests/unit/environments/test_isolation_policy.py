"""What functions may reach, as data: folders, ports and the paths that they see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from venturekit.service.environments.interpreters import interpreter_files
from venturekit.service.environments.isolation.levels import IsolationUnavailableError, Level
from venturekit.service.environments.isolation.policy import Policy, Surroundings, make_policy, readable_by_all
from venturekit.service.environments.ports import EnvironmentSpec

ELSEWHERE = Path("/nonexistent/data")


def surroundings(folder: Path, data: Path = ELSEWHERE) -> Surroundings:
    runtime = folder / "runtime"
    runtime.mkdir(exist_ok=True)
    return Surroundings(
        data_directory=data,
        runtime_directory=runtime,
        bytecode_directory=folder / "bytecode",
        mountpoint=folder / "mountpoint",
    )


def policy_of(level: Level, folder: Path, *, abi: int = 6, data: Path = ELSEWHERE, **ports: Any) -> Policy:
    given = {"connect_ports": (443, 80), "bind_ports": (8080,), **ports}
    return make_policy(level, abi, surroundings(folder, data), **given)


def spec_of(**members: Any) -> EnvironmentSpec:
    given = {
        "identity": "i",
        "function_name": "orders",
        "function_version": "1",
        "function_arn": "arn",
        "runtime": "python3.12",
        "handler": "app.handler",
        "timeout_ms": 1000,
        "memory_size_mb": 128,
        "ephemeral_storage_mb": 512,
        "code_key": "k",
        "code_directory": Path("/data/code/k"),
        "log_group": "g",
        "layers": (Path("/data/layers/a"), Path("/data/layers/b")),
        **members,
    }
    return EnvironmentSpec(**given)


def test_confined_functions_see_the_folders_of_the_host(tmp_path: Path) -> None:
    policy, spec = policy_of("confined", tmp_path), spec_of()
    assert policy.inside(spec) is spec
    assert policy.shown("/data/code/k/bootstrap", spec) == "/data/code/k/bootstrap"
    assert policy.pycache_prefix == str(tmp_path / "bytecode")
    assert policy.runtime_root == tmp_path / "runtime"
    own = policy.own_part(
        spec, tmp=Path("/data/e/tmp"), ports=[9001, 40000], needed=interpreter_files("/usr/bin/python3")
    )
    assert own == {
        "read": ["/data/code/k", "/data/layers/a", "/data/layers/b", "/etc/resolv.conf", "/etc/hosts"],
        "write": ["/data/e/tmp", "/tmp"],
        "connect_ports": [9001, 40000],
        "binds": [],
        "overlay": [],
    }


def test_functions_in_a_namespace_see_the_folders_of_aws(tmp_path: Path) -> None:
    policy, spec = policy_of("namespace", tmp_path), spec_of()
    inside = policy.inside(spec)
    assert (inside.code_directory, inside.layers) == (Path("/var/task"), (Path("/opt"),))
    assert policy.shown("/data/code/k/bootstrap", spec) == "/var/task/bootstrap"
    assert policy.shown("/data/layers/b/bootstrap", spec) == "/opt/bootstrap"
    assert policy.shown("/data/code/kk/bootstrap", spec) == "/data/code/kk/bootstrap"
    assert policy.shown("app.handler", spec) == "app.handler"
    assert policy.runtime_root == Path("/var/runtime")
    own = policy.own_part(spec, tmp=tmp_path, ports=[1], needed=("/missing", "/usr/bin/env"))
    assert own["write"] == [str(tmp_path)]
    # What a later layer has hides what an earlier one has.
    assert own["overlay"] == ["/data/layers/b", "/data/layers/a"]
    assert own["binds"] == [["/data/code/k", "/var/task"]]


@pytest.mark.parametrize("path", ["/tmp/python/bin/python3", "/var/task/python", "/var/runtime"])
def test_an_interpreter_that_the_function_would_hide_is_refused(tmp_path: Path, path: str) -> None:
    policy = policy_of("namespace", tmp_path)
    with pytest.raises(IsolationUnavailableError, match="install it elsewhere"):
        policy.own_part(spec_of(), tmp=tmp_path, ports=[], needed=(path,))


def test_what_a_program_reads_is_moved_from_where_the_function_would_hide_it(tmp_path: Path) -> None:
    script = "/tmp/clone/start.py"
    policy, spec = policy_of("namespace", tmp_path), spec_of()
    assert policy.shown(script, spec) == "/var/lang/venturekit/start.py"
    assert policy_of("confined", tmp_path).shown(script, spec) == script
    own = policy.own_part(spec, tmp=tmp_path, ports=[], needed=(script,), extras=(script,))
    assert script in own["read"]
    hidden = tmp_path / "start.py"
    hidden.touch()
    bound = policy.own_part(spec, tmp=tmp_path, ports=[], needed=(str(hidden),), extras=(str(hidden),))["binds"]
    assert [str(hidden), policy.shown(str(hidden), spec)] in bound


def test_a_resolver_that_writes_its_file_elsewhere_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "stub-resolv.conf"
    written.touch()
    (tmp_path / "resolv.conf").symlink_to(written)
    policy = policy_of("namespace", tmp_path)
    monkeypatch.setattr("venturekit.service.environments.isolation.policy.RESOLVER", str(tmp_path / "resolv.conf"))
    own = policy.own_part(spec_of(), tmp=tmp_path, ports=[])
    assert own["binds"][1:] == [[str(written), str(written)]]


def test_what_the_program_needs_is_shown_where_it_is(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.touch()
    confined = policy_of("confined", tmp_path).own_part(spec_of(), tmp=tmp_path, ports=[], needed=(str(tool),))
    assert str(tool) in confined["read"]
    there = "/dev/null"
    namespace = policy_of("namespace", tmp_path).own_part(spec_of(), tmp=tmp_path, ports=[], needed=(there,))
    assert namespace["binds"][1:] == [[there, there]]


@pytest.mark.parametrize(
    ("level", "data", "refused"),
    [
        ("confined", "/tmp/data", True),
        ("namespace", "/tmp/data", False),
        ("confined", "/usr/share/data", True),
        ("namespace", "/usr/share/data", True),
        ("confined", "/var/lib/data", False),
        ("confined", "/usrdata", False),
    ],
)
def test_a_data_directory_that_functions_could_reach_is_refused(
    tmp_path: Path, level: Level, data: str, refused: bool
) -> None:
    if refused:
        with pytest.raises(IsolationUnavailableError, match="choose another --data-dir"):
            policy_of(level, tmp_path, data=Path(data))
    else:
        assert policy_of(level, tmp_path, data=Path(data)).level == level


def test_a_link_into_a_reachable_folder_does_not_deceive(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr/share")
    with pytest.raises(IsolationUnavailableError, match="lies in /usr"):
        policy_of("namespace", tmp_path, data=tmp_path / "link" / "data")


@pytest.mark.parametrize(
    ("level", "abi", "unix_sockets"),
    [("confined", 6, False), ("confined", 7, False), ("namespace", 5, False), ("namespace", 6, True)],
)
def test_unix_sockets_only_where_something_else_keeps_them_apart(
    tmp_path: Path, level: Level, abi: int, unix_sockets: bool
) -> None:
    assert policy_of(level, tmp_path, abi=abi).common["unix_sockets"] is unix_sockets


def test_ports_are_listed_once_and_a_newer_landlock_is_used_as_the_newest_known(tmp_path: Path) -> None:
    policy = policy_of("confined", tmp_path, abi=12, connect_ports=(443, 80, 443), bind_ports=(8080,))
    assert policy.common["connect_ports"] == [80, 443]
    assert policy.common["bind_ports"] == [8080]
    assert policy.common["abi"] == 6
    assert policy.connect_ports == {80, 443, 8080}


def test_libraries_are_readable_where_their_links_lead(tmp_path: Path) -> None:
    (tmp_path / "packages" / "boto3").mkdir(parents=True)
    around = surroundings(tmp_path)
    (around.runtime_directory / "boto3").symlink_to(tmp_path / "packages" / "boto3")
    (around.runtime_directory / "__pycache__").mkdir()
    policy = make_policy("namespace", 6, around, (), ())
    target = str(tmp_path / "packages" / "boto3")
    assert target in policy.common["read"]
    assert (target, "/var/runtime/boto3") in policy.common["binds"]
    assert not [path for _, path in policy.common["binds"] if "__pycache__" in path]


def test_nothing_private_is_among_what_all_may_read(tmp_path: Path) -> None:
    for name, mode in {"open/a": 0o644, "mixed/b": 0o644, "mixed/key": 0o640, "closed/c": 0o644}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        path.chmod(mode)
    (tmp_path / "closed").chmod(0o750)
    (tmp_path / "link").symlink_to("closed/c")
    os.mkfifo(tmp_path / "pipe", 0o666)
    found = readable_by_all(str(tmp_path))
    assert found == [f"{tmp_path}/mixed/b", f"{tmp_path}/open"]


def test_a_folder_whose_every_file_is_open_is_one_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").touch()
    (tmp_path / "a" / "link").symlink_to("/etc/shadow")
    assert readable_by_all(str(tmp_path)) == [str(tmp_path)]


def test_a_folder_that_is_missing_is_nothing(tmp_path: Path) -> None:
    assert readable_by_all(str(tmp_path / "missing")) == []
