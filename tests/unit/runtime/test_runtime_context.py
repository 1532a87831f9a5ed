"""Contexts outside of a handler, locales, the environment."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest

from tests.unit.runtime.support import Context, v2
from venturekit.runtime import TenantContext, UserContext, build_context, environ, extract_locale
from venturekit.runtime.context import TaskContext, trace_id_of


@pytest.mark.parametrize(
    ("header", "supported", "expected"),
    [
        # RFC 9110, 12.5.4: its own examples, and what they say.
        ("da, en-gb;q=0.8, en;q=0.7", ["da", "en-GB", "en"], "da"),
        ("da, en-gb;q=0.8, en;q=0.7", ["en-GB", "en"], "en-GB"),
        ("da, en-gb;q=0.8, en;q=0.7", ["en-US", "fr"], "en-US"),
        ("de;q=0.5, en", ["en", "de"], "en"),
        ("de;q=0.5, en;q=0.4", ["en", "de"], "de"),
        ("de;q=0, en;q=0.1", ["de", "en"], "en"),
        ("de;q=0", ["de"], "FALLBACK"),
        # RFC 4647, 3.4: what is longer falls back part by part.
        ("zh-Hant-CN-x-private1-private2", ["zh-Hant-CN-x-private1"], "zh-Hant-CN-x-private1"),
        ("zh-Hant-CN-x-private1-private2", ["zh-Hant"], "zh-Hant"),
        ("zh-Hant-CN", ["zh"], "zh"),
        ("en-GB", ["en"], "en"),
        ("en-GB", ["en-US"], "en-US"),
        ("en", ["en-US", "en-GB"], "en-US"),
        ("EN-us", ["en-US"], "en-US"),
        ("en_US", ["en"], "FALLBACK"),
        ("pt-br", ["pt_BR"], "pt_BR"),
        ("de-AT, de", ["de-DE"], "de-DE"),
        ("e", ["en"], "FALLBACK"),
        # Wildcards.
        ("*", ["en", "de"], "FALLBACK"),
        ("fr, *;q=0.1", ["en"], "FALLBACK"),
        ("fr;q=0.1, *", ["fr"], "FALLBACK"),
        ("*, en;q=0.5", ["en"], "FALLBACK"),
        # The same weight: the order of the header.
        ("fr, de", ["de", "fr"], "fr"),
        ("fr;q=0.8, de;q=0.80", ["de", "fr"], "fr"),
        # What is no weight is none.
        ("de;q=x, en;q=0.1", ["de", "en"], "en"),
        ("de;q=nan, en;q=0.1", ["de", "en"], "en"),
        ("de;q=1e0, en;q=0.1", ["de", "en"], "en"),
        ("de;q=5, en;q=0.1", ["de", "en"], "en"),
        ("de;q=-1, en;q=0.1", ["de", "en"], "en"),
        ("de;q=, en;q=0.1", ["de", "en"], "en"),
        ("de;q=., en;q=0.1", ["de", "en"], "en"),
        ("de;level=1;q=0.2, en;q=0.1", ["de", "en"], "de"),
        (" de ; q = 0.3 , en", ["de"], "de"),
        # Nothing.
        ("", ["en"], "FALLBACK"),
        (",;,;q=1,,", ["en"], "FALLBACK"),
        ("fr", ["en"], "FALLBACK"),
        ("en", [], "FALLBACK"),
        (", ".join(["xx"] * 60) + ", en", ["en"], "FALLBACK"),
    ],
)
def test_the_locale_is_the_one_that_is_liked_best(header: str, supported: list[str], expected: str) -> None:
    assert extract_locale(v2(headers={"Accept-Language": header}), supported, "FALLBACK") == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("*, en;q=0", "de"), ("*, en;q=0, de;q=0", "en"), ("en-US, en;q=0, *;q=0.1", "en-US"), ("*", "en")],
)
def test_any_language_is_none_of_those_that_are_not_wanted(header: str, expected: str) -> None:
    assert extract_locale(v2(headers={"accept-language": header}), ["en", "de", "en-US"], "en") == expected


@pytest.mark.parametrize(
    ("options", "variable", "expected"),
    [
        ({}, None, "en"),
        ({}, "fr,de", "de"),
        ({}, "fr", "fr"),
        ({"supported_locales": ["de", "en"]}, None, "de"),
        ({"supported_locales": ["fr"]}, None, "fr"),
        ({"default_locale": "it"}, None, "it"),
        ({"supported_locales": ["fr"], "default_locale": "it"}, None, "it"),
        ({"supported_locales": []}, None, "en"),
    ],
)
def test_where_the_locales_come_from(
    options: Any, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("VENTURE_LOCALES", variable)
    assert build_context(v2(headers={"accept-language": "de"}), **options).locale == expected


def test_a_middleware_may_set_what_a_context_has_found_out() -> None:
    ctx = build_context(v2(claims={"sub": "claimed"}))
    ctx.user = UserContext("other", scopes=["a"])
    ctx.tenant = TenantContext("acme", "acme-slug", {"plan": "free"})
    ctx.locale, ctx.trace, ctx.intent_outputs = "fr", "Root=1-a-b", {"table": "t"}
    assert (ctx.user.id, ctx.tenant.slug, ctx.tenant.metadata) == ("other", "acme-slug", {"plan": "free"})
    assert (ctx.locale, ctx.trace_id, ctx.intent_outputs) == ("fr", "1-a-b", {"table": "t"})
    assert repr(ctx.user) == "UserContext(id='other', scopes=['a'])"
    assert repr(ctx.tenant) == "TenantContext(id='acme', slug='acme-slug')"
    assert "claims" not in repr(ctx.user)


def test_a_request_without_an_id_gets_aws_s_or_one_of_its_own() -> None:
    event = v2()
    del event["requestContext"]["requestId"]
    assert build_context(event, context=Context()).request_id == "aws-request-1"
    assert uuid.UUID(build_context(event).request_id).version == 4


@pytest.mark.parametrize("epoch", [None, "x", -1, 10**15, float("inf"), float("nan"), [], True])
def test_a_time_that_is_none_is_now(epoch: Any) -> None:
    event = v2()
    event["requestContext"]["timeEpoch"] = epoch
    timestamp = build_context(event).timestamp
    assert timestamp.tzinfo is datetime.UTC
    if epoch is not True:
        assert abs((datetime.datetime.now(datetime.UTC) - timestamp).total_seconds()) < 60


def test_without_a_lambda_there_is_time() -> None:
    assert build_context(v2()).get_remaining_time_in_millis() > 10**9


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (None, None),
        ("", None),
        ("Root=1-a-b", "1-a-b"),
        ("Self=1; root=1-a-b ;Sampled=1", "1-a-b"),
        ("Parent=1", None),
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "a" * 32),
        ("00-short-b-01", None),
    ],
)
def test_the_root_of_a_trace(trace: str | None, expected: str | None) -> None:
    assert trace_id_of(trace) == expected


def test_intent_outputs_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_INTENT_OUTPUTS", '{"main":{"table":"t"}}')
    assert TaskContext({}).intent_outputs == {"main": {"table": "t"}}


@pytest.mark.parametrize(
    ("variable", "value", "read", "text"),
    [
        ("VENTURE_INTENT_OUTPUTS", "{", environ.intent_outputs, "is no JSON"),
        ("VENTURE_INTENT_OUTPUTS", "[]", environ.intent_outputs, "must be a JSON object"),
        ("VENTURE_LOCAL_URLS", "app", environ.local_urls, "has the entry 'app': project=http://host:port is expected"),
        ("VENTURE_LOCAL_URLS", "app=ftp://x", environ.local_urls, "project=http://host:port is expected"),
        ("VENTURE_LOCAL_URLS", "=http://x", environ.local_urls, "project=http://host:port is expected"),
        ("VENTURE_LOG_LEVEL", "loud", environ.log_level, "VENTURE_LOG_LEVEL is 'loud': one of trace"),
        ("AWS_LAMBDA_LOG_LEVEL", "loud", environ.log_level, "AWS_LAMBDA_LOG_LEVEL is 'loud'"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    variable: str, value: str, read: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(environ.EnvironmentVariableError) as caught:
        read()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "read", "expected"),
    [
        ({}, environ.local_urls, {}),
        (
            {"VENTURE_LOCAL_URLS": " app = http://localhost:3000/ ,, billing=https://b "},
            environ.local_urls,
            {"app": "http://localhost:3000", "billing": "https://b"},
        ),
        ({}, environ.locales, (("en",), "en")),
        ({"VENTURE_LOCALES": "de-AT, en"}, environ.locales, (("de-AT", "en"), "de-AT")),
        ({}, environ.lambda_endpoint, None),
        ({"AWS_ENDPOINT_URL": "http://a"}, environ.lambda_endpoint, "http://a"),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_LAMBDA": "http://b"}, environ.lambda_endpoint, "http://b"),
        (
            {"AWS_ENDPOINT_URL_LAMBDA": "http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            environ.lambda_endpoint,
            None,
        ),
        ({}, environ.credentials, None),
        ({"AWS_ACCESS_KEY_ID": "a"}, environ.credentials, None),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, environ.credentials, ("a", "b", None)),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"},
            environ.credentials,
            ("a", "b", "c"),
        ),
        ({}, environ.region, None),
        ({"AWS_DEFAULT_REGION": "b"}, environ.region, "b"),
        ({"AWS_DEFAULT_REGION": "b", "AWS_REGION": "a"}, environ.region, "a"),
        ({"VENTURE_LOCAL": "TRUE"}, environ.is_local, True),
        ({"VENTURE_LOCAL": "no"}, environ.is_local, False),
        ({}, environ.is_lambda, False),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, environ.is_lambda, True),
        ({}, environ.log_level, "info"),
        ({"AWS_LAMBDA_LOG_LEVEL": "WARN"}, environ.log_level, "warn"),
        ({"AWS_LAMBDA_LOG_LEVEL": "WARN", "VENTURE_LOG_LEVEL": "Debug"}, environ.log_level, "debug"),
        ({}, environ.log_format, "JSON"),
        ({"AWS_LAMBDA_LOG_FORMAT": "text"}, environ.log_format, "Text"),
    ],
)
def test_variables(variables: dict[str, str], read: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read() == expected
