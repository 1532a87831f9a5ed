"""Every setting has an option and a variable, ``vk doctor`` says where each comes from, and the pages are current."""

from __future__ import annotations

import importlib.util
import json
import os
from functools import cache
from pathlib import Path

import pytest

import venturekit.client
from venturekit.cli.doctor import _running, examine
from venturekit.cli.exits import CommandError
from venturekit.cli.serve import build_parser
from venturekit.service.config import SETTINGS, Settings, load_settings
from venturekit.service.environments.isolation import probe

ROOT = Path(__file__).resolve().parents[2]
# For every setting another value than its default, and what has to be given with it.
OTHER = {
    "host": ("::1", "::1"),
    "port": ("0", "0"),
    "front": ("true", "True"),
    "front_port": ("0", "0"),
    "data_dir": ("elsewhere", "elsewhere"),
    "python_runtime": ("awslambdaric", "awslambdaric"),
    "python_start": ("spawn", "spawn"),
    "strict_runtimes": ("true", "True"),
    "account_id": ("123456789012", "123456789012"),
    "region": ("eu-central-1", "eu-central-1"),
    "concurrency": ("7", "7"),
    "async_retry_delays": ("1,2.5", "1.0,2.5"),
    "async_concurrency": ("3", "3"),
    "async_queue_limit": ("50", "50"),
    "event_history_hours": ("0.5", "0.5"),
    "event_history_limit": ("9", "9"),
    "idle_timeout": ("1.5", "1.5"),
    "drain_timeout": ("0", "0.0"),
    "allow_host": ("Lambda.test,b", "lambda.test,b"),
    "access_key_id": ("AKID", "AKID"),
    "secret_access_key": ("secret", "(set)"),
    "credentials": ("keys.json", "keys.json"),
    "tls_certificate": ("c.pem", "c.pem"),
    "tls_key": ("k.pem", "k.pem"),
    "behind_tls": ("yes", "True"),
    "isolation": ("auto", "auto"),
    "require_isolation": ("process", "process"),
    "accept_isolation_gaps": ("true", "True"),
    "connect_ports": ("443,80", "80,443"),
    "bind_ports": ("8080", "8080"),
    "allow_aws": ("1", "True"),
    "pass_aws_credentials": ("1", "True"),
    "log_dir": ("logs", "logs"),
    "log_dir_limit_mb": ("20", "20"),
    "log_dir_days": ("3", "3"),
    "log_level": ("error", "error"),
}
TOGETHER = {
    "access_key_id": "secret_access_key",
    "secret_access_key": "access_key_id",
    "tls_certificate": "tls_key",
    "tls_key": "tls_certificate",
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("VENTUREKIT_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def asked_once(monkeypatch):
    """The kernel says the same of a level in every test."""
    monkeypatch.setattr(probe, "prober", prober)


@cache
def prober(interpreter, asked=probe.prober):
    return cache(asked(interpreter))


def arguments_for(name):
    switch = isinstance(getattr(Settings(), name), bool)
    flag = "--" + name.replace("_", "-")
    return [flag] if switch else [flag, OTHER[name][0]]


def shown(found):
    assert found["problems"] == []
    return {item["name"]: (item["value"], item["origin"]) for item in found["settings"]}


def test_the_table_of_this_test_is_whole():
    assert set(OTHER) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_a_setting_has_an_option(name, free_port):
    arguments = arguments_for(name) + (arguments_for(TOGETHER[name]) if name in TOGETHER else [])
    found = shown(examine(arguments, f"http://127.0.0.1:{free_port}"))
    assert found[name] == (OTHER[name][1], "flag")
    given = {name, TOGETHER.get(name, name)}
    assert {other for other, (_, origin) in found.items() if origin != "default"} == given


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_a_setting_has_a_variable(name, monkeypatch, free_port):
    for each in {name, TOGETHER.get(name, name)}:
        monkeypatch.setenv("VENTUREKIT_" + each.upper(), OTHER[each][0])
    found = shown(examine([], f"http://127.0.0.1:{free_port}"))
    assert found[name] == (OTHER[name][1], "environment")


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_the_option_wins_and_an_empty_variable_counts_for_nothing(name):
    variable = "VENTUREKIT_" + name.upper()
    partner = {TOGETHER[name]: OTHER[TOGETHER[name]][0]} if name in TOGETHER else {}
    flags = vars(build_parser().parse_args(arguments_for(name)))
    _, origins = load_settings({**flags, **partner}, {variable: "not looked at"})
    assert origins[name] == "flag"
    _, origins = load_settings({}, {variable: ""})
    assert origins[name] == "default"


@pytest.mark.parametrize("name", [item.name for item in SETTINGS if isinstance(getattr(Settings(), item.name), bool)])
def test_a_switch_of_the_environment_can_be_turned_off(name):
    flags = vars(build_parser().parse_args(["--no-" + name.replace("_", "-")]))
    settings, origins = load_settings(flags, {"VENTUREKIT_" + name.upper(): "true"})
    assert (getattr(settings, name), origins[name]) == (False, "flag")


# --- doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_shows_everything_as_json(service):
    done = service.vk("doctor", "--json")
    assert done.status == 0, done.err
    found = done.json
    assert list(found) == [
        *("version", "interpreters", "runtimes", "isolation", "limits", "packages", "settings", "endpoint", "problems")
    ]
    own = [item for item in found["interpreters"] if item["exactly"]]
    assert all(set(item) == {"version", "path", "exactly", "instead"} for item in found["interpreters"])
    assert all(os.access(item["path"], os.X_OK) for item in own)
    # Every runtime is served by exactly one interpreter.
    served = [name for item in found["interpreters"] for name in item["exactly"] + item["instead"]]
    assert sorted(served) == sorted(item["runtime"] for item in found["runtimes"])
    assert [item["runtime"] for item in found["runtimes"] if item["exact"] == bool(item["warning"])] == []
    assert found["isolation"]["level"] == "process"
    assert "TMPDIR" in found["isolation"]["meaning"]
    limits = found["limits"]
    assert limits["cpus"] >= 1
    assert 0 < limits["memory_available_bytes"] <= limits["memory_bytes"]
    assert set(found["packages"]) >= {"uvloop", "httptools", "botocore", "awslambdaric"}
    assert found["endpoint"]["url"] == service.url
    assert found["endpoint"]["running"] is True
    assert found["endpoint"]["health"]["functions"] == 1
    assert found["problems"] == []


def test_doctor_takes_the_options_of_serve(service):
    settings = service.vk(
        "doctor", "--json", "--port", "0", "--strict-runtimes", env={"VENTUREKIT_REGION": "eu-west-1"}
    )
    found = {item["name"]: item for item in settings.json["settings"]}
    assert (found["port"]["value"], found["port"]["origin"]) == ("0", "flag")
    assert (found["strict_runtimes"]["value"], found["strict_runtimes"]["origin"]) == ("True", "flag")
    assert (found["region"]["value"], found["region"]["origin"]) == ("eu-west-1", "environment")
    assert found["host"] == {
        "name": "host",
        "value": "127.0.0.1",
        "origin": "default",
        "flag": "--host",
        "variable": "VENTUREKIT_HOST",
    }


def test_doctor_in_words(service):
    text = service.vk("doctor", "--log-level", "debug").out.decode()
    for title in ("Interpreters", "Isolation", "Limits", "Packages", "Settings", "Endpoint"):
        assert f"\n{title}\n" in text
    assert "\n--log-level\tdebug\tflag\n" in text
    assert f"\n{service.url}\trunning, version " in text
    assert "\nProblems\n" not in text


def test_doctor_needs_no_service(vk, free_port):
    done = vk("doctor", "--json", env={"VENTUREKIT_PORT": str(free_port)})
    assert done.status == 0
    assert done.json["endpoint"]["running"] is False
    assert "vk serve" in done.json["endpoint"]["reason"]


def test_doctor_says_what_keeps_the_service_from_starting(vk):
    done = vk("doctor", "--json", env={"VENTUREKIT_CONCURRENCY": "none"})
    assert done.status == 1
    assert done.json["problems"] == ["VENTUREKIT_CONCURRENCY 'none': must be a whole number"]
    assert done.json["settings"] == []
    assert done.json["interpreters"] != []


def test_doctor_does_not_show_secrets(vk):
    env = {"VENTUREKIT_ACCESS_KEY_ID": "AKID", "VENTUREKIT_SECRET_ACCESS_KEY": "hidden"}
    done = vk("doctor", "--json", env=env)
    assert b"hidden" not in done.out
    assert b"(set)" in done.out


def test_doctor_refuses_options_that_serve_does_not_have(vk):
    with pytest.raises(CommandError, match="unrecognized arguments: --colour"):
        examine(["--colour"], None)
    assert vk("doctor", "--colour").status == 2


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "client.md", "settings.md"])
def test_the_pages_of_the_reference_are_current(reference, page):
    assert reference.pages()[page] == (ROOT / "docs" / "reference" / page).read_text(), "run scripts/reference.py"


def test_check_finds_a_difference_and_changes_nothing(reference, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main(["--check"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    page = tmp_path / "settings.md"
    page.write_text(page.read_text().replace("9001", "9002"))
    assert reference.main(["--check"]) == 1
    assert "settings.md is out of date: run scripts/reference.py" in capsys.readouterr().err


def test_every_setting_and_command_is_on_the_pages(reference):
    pages = reference.pages()
    for setting in SETTINGS:
        assert f"| `{setting.flag}` " in pages["settings.md"]
        assert f" `{setting.variable}` " in pages["settings.md"]
    for command in ("serve", "run", "invoke", "logs", "doctor", "functions", "events"):
        assert f"\n## `vk {command}`\n" in pages["cli.md"]
    for name in venturekit.client.__all__:
        assert f"`{name}`" in pages["client.md"]
    assert json.dumps(pages).count("Written by scripts/reference.py") == 3


@pytest.mark.parametrize(("count", "words"), [(0, "0 functions"), (1, "1 function"), (2, "2 functions")])
def test_doctor_counts_the_functions_of_all_accounts(count, words):
    endpoint = {"running": True, "health": {"version": "1", "functions": count}}
    assert _running(endpoint) == f"running, version 1, {words} in all accounts"


@pytest.mark.parametrize(
    ("front", "words"),
    [
        ({"state": "running", "port": 9002}, "function URLs at port 9002: running"),
        ({"state": "off", "port": None}, "function URLs: off"),
    ],
)
def test_doctor_says_how_function_urls_are(front, words):
    endpoint = {"running": True, "health": {"version": "1", "functions": 0, "front": front}}
    assert _running(endpoint).endswith(f"; {words}")
