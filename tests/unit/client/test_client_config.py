"""The configuration of clients: held against botocore's resolution, and what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.resolution_support import KEYS, Case, Found, of_botocore, ours, prepare
from venturekit.client.config import ClientConfig
from venturekit.client.errors import ClientConfigError
from venturekit.client.regions import aws_endpoint, is_aws
from venturekit.client.resolution import resolve
from venturekit.transport.endpoint import EndpointError, parse_endpoint, parse_proxy

if TYPE_CHECKING:
    from pathlib import Path

HERE = {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}
OWN = "http://127.0.0.1:9001"
PROFILE = "[profile p]\nregion = eu-central-1\naws_access_key_id = AKIDP\naws_secret_access_key = p-secret\n"
SERVICES = (
    "[default]\nregion = eu-west-1\nservices = mine\nendpoint_url = http://global.example\n"
    "[services mine]\nlambda =\n  # where it is\n  endpoint_url = http://lambda.example:81/base\ns3 =\n"
    "  endpoint_url = http://s3.example\n"
)
SAME = {
    "region by the environment": Case(HERE),
    "region of an option": Case(HERE, options={"region": "us-west-2"}),
    "region of the default profile": Case(KEYS, "[default]\nregion = ap-south-1\n"),
    "region of the file of credentials": Case(KEYS, None, "[default]\nregion = ap-south-1\n"),
    "region of both files": Case(KEYS, "[default]\nregion = ap-south-1\n", "[default]\nregion = eu-north-1\n"),
    "region of the environment before the profile": Case(HERE, "[default]\nregion = ap-south-1\n"),
    "profile of the environment": Case({"AWS_PROFILE": "p"}, PROFILE),
    "profile of the older variable": Case({"AWS_DEFAULT_PROFILE": "p"}, PROFILE),
    "both variables of profiles": Case(
        {"AWS_PROFILE": "q", "AWS_DEFAULT_PROFILE": "p"}, f"{PROFILE}[profile q]\nregion = x\n"
    ),
    "profile of an option": Case({"AWS_PROFILE": "q"}, PROFILE, options={"profile": "p"}),
    "keys of the environment before AWS_PROFILE": Case({**KEYS, "AWS_PROFILE": "p"}, PROFILE),
    "a profile that is named before keys of the environment": Case(KEYS, PROFILE, options={"profile": "p"}),
    "profile default": Case({}, PROFILE.replace("profile p", "profile default")),
    "default and profile default": Case(KEYS, "[profile default]\nregion = eu-west-1\n[default]\nregion = eu-west-2\n"),
    "profile default and default": Case(KEYS, "[default]\nregion = eu-west-1\n[profile default]\nregion = eu-west-2\n"),
    "a quoted name": Case({"AWS_PROFILE": "a b"}, PROFILE.replace("profile p", 'profile "a b"')),
    "a name in the file of credentials": Case(
        {"AWS_PROFILE": "a b", "AWS_DEFAULT_REGION": "eu-west-1"},
        None,
        "[a b]\naws_access_key_id = AKIDS\naws_secret_access_key = s\naws_session_token = t\n",
    ),
    "other files": Case(
        {"AWS_CONFIG_FILE": "~/.aws/credentials", "AWS_SHARED_CREDENTIALS_FILE": "$HOME/.aws/config", "HERE": ""},
        "[x]\naws_access_key_id = AKIDX\naws_secret_access_key = x\n[default]\naws_access_key_id = A\n"
        "aws_secret_access_key = y\n",
        "[default]\nregion = eu-west-1\n",
    ),
    "a default section is inherited": Case({}, f"[DEFAULT]\nca_bundle = /x.pem\n{PROFILE}", options={"profile": "p"}),
    "endpoint of an option": Case(HERE, options={"endpoint_url": OWN}),
    "endpoint of the environment": Case({**HERE, "AWS_ENDPOINT_URL": OWN}),
    "endpoint of the service": Case({**HERE, "AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_LAMBDA": OWN}),
    "endpoint of another service": Case({**HERE, "AWS_ENDPOINT_URL_S3": OWN}),
    "endpoint of the profile": Case(HERE, f"[default]\nendpoint_url = {OWN}\n"),
    "endpoint of the environment before the profile": Case({**HERE, "AWS_ENDPOINT_URL": OWN}, SERVICES),
    "endpoint of the services": Case(KEYS, SERVICES),
    "services without lambda": Case(KEYS, SERVICES.replace("lambda =", "ec2 =")),
    "services in capitals": Case(KEYS, SERVICES.replace("lambda =", "Lambda =")),
    "services with a quoted name": Case(KEYS, SERVICES.replace("services mine]", 'services "mine"]')),
    "endpoints ignored": Case(
        {**HERE, "AWS_ENDPOINT_URL": OWN, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, SERVICES
    ),
    "endpoints ignored in capitals": Case(
        {**HERE, "AWS_ENDPOINT_URL": OWN, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"}
    ),
    "endpoints not ignored": Case({**HERE, "AWS_ENDPOINT_URL": OWN, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "1"}),
    "endpoints ignored by the profile": Case(
        {**HERE, "AWS_ENDPOINT_URL": OWN}, "[default]\nignore_configured_endpoint_urls = true\n"
    ),
    "endpoints not ignored after all": Case(
        {**HERE, "AWS_ENDPOINT_URL": OWN, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
        "[default]\nignore_configured_endpoint_urls = true\n",
    ),
    "an option is never ignored": Case(
        {**HERE, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, options={"endpoint_url": OWN}
    ),
    "fips": Case({**HERE, "AWS_USE_FIPS_ENDPOINT": "true"}),
    "fips by the profile": Case(HERE, "[default]\nuse_fips_endpoint = true\n"),
    "no fips by the environment": Case(
        {**HERE, "AWS_USE_FIPS_ENDPOINT": "false"}, "[default]\nuse_fips_endpoint = true\n"
    ),
    "dual stack": Case({**HERE, "AWS_USE_DUALSTACK_ENDPOINT": "True"}),
    "dual stack by the profile": Case(HERE, "[default]\nuse_dualstack_endpoint = true\n"),
    "fips and dual stack": Case({**HERE, "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "fips of an own endpoint": Case({**HERE, "AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL": OWN}),
    "dual stack of an own endpoint": Case(
        {**HERE, "AWS_USE_DUALSTACK_ENDPOINT": "true"}, options={"endpoint_url": OWN}
    ),
    "certificates of other programs": Case({**HERE, "REQUESTS_CA_BUNDLE": "{home}/a.pem"}),
    "certificates of AWS before": Case(
        {**HERE, "REQUESTS_CA_BUNDLE": "{home}/a.pem"}, "[default]\nca_bundle = /b.pem\n"
    ),
    "certificates of the environment": Case({**HERE, "AWS_CA_BUNDLE": "/a.pem"}, "[default]\nca_bundle = /b.pem\n"),
    "certificates of the profile": Case(HERE, "[default]\nca_bundle = /b.pem\n"),
    "token": Case({**HERE, "AWS_SESSION_TOKEN": "t"}),
    "both tokens": Case({**HERE, "AWS_SESSION_TOKEN": "t", "AWS_SECURITY_TOKEN": "s"}),
    "empty variables": Case({**HERE, "AWS_SESSION_TOKEN": "", "AWS_ENDPOINT_URL": ""}),
    "a proxy": Case({**HERE, "HTTPS_PROXY": "http://127.0.0.1:1"}),
    "a proxy in lower case": Case({**HERE, "https_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.2:2"}),
    "a proxy switched off": Case({**HERE, "https_proxy": "", "HTTPS_PROXY": "http://127.0.0.2:2"}),
    "a proxy of the other scheme": Case({**HERE, "HTTP_PROXY": "http://127.0.0.1:1"}),
    "a proxy without scheme": Case({**HERE, "HTTPS_PROXY": "127.0.0.1:1"}),
    "a proxy after slashes": Case({**HERE, "HTTPS_PROXY": "//127.0.0.1:1"}),
    "http by a proxy": Case({**HERE, "HTTP_PROXY": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": OWN}),
    "http in a CGI script": Case(
        {**HERE, "HTTP_PROXY": "http://127.0.0.1:1", "REQUEST_METHOD": "GET", "AWS_ENDPOINT_URL": OWN}
    ),
    "http in a CGI script, lower case": Case(
        {**HERE, "http_proxy": "http://127.0.0.1:1", "REQUEST_METHOD": "GET", "AWS_ENDPOINT_URL": OWN}
    ),
    "no proxy in lower case": Case(
        {**HERE, "HTTPS_PROXY": "http://127.0.0.1:1", "no_proxy": "", "NO_PROXY": "amazonaws.com"}
    ),
    **{
        f"no proxy for {listed}": Case(
            {**HERE, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": listed, "AWS_ENDPOINT_URL": url}
        )
        for url, listed in [
            ("http://api.example.com:81", "example.com"),
            ("http://api.example.com:81", ".example.com, other"),
            ("http://API.example.com:81", "API.EXAMPLE.COM"),
            ("http://api.example.com:81", "api.example.com:81"),
            ("http://api.example.com:81", "api.example.com:82"),
            ("http://api.example.com:81", "ample.com"),
            ("http://api.example.com:81", "*"),
            ("http://api.example.com:81", "*.example.com"),
            (OWN, "127.0.0.1"),
            (OWN, "127.0.0.1:9001"),
            (OWN, "127.0.0.0/8"),
            (OWN, "localhost"),
            ("http://[::1]:9001", "[::1]"),
            ("http://[::1]:9001", "[::1]:9001"),
            ("http://[::1]:9001", "[::2]"),
        ]
    },
}
REFUSED = {
    "no region": Case(KEYS),
    "no keys": Case({"AWS_DEFAULT_REGION": "eu-west-1"}),
    "half a key": Case({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A"}),
    "half a key in a file": Case({"AWS_DEFAULT_REGION": "eu-west-1"}, None, "[default]\naws_access_key_id = A\n"),
    "a key in two files": Case(
        {"AWS_DEFAULT_REGION": "eu-west-1"},
        "[default]\naws_secret_access_key = s\n",
        "[default]\naws_access_key_id = A\n",
    ),
    "no such profile": Case({**HERE, "AWS_PROFILE": "missing"}),
    "no such profile of an option": Case(HERE, PROFILE, options={"profile": "missing"}),
    "a section that is no profile": Case({**HERE, "AWS_PROFILE": "p"}, PROFILE.replace("profile p", "p")),
    "no such services": Case(HERE, "[default]\nservices = mine\n"),
    "a broken file": Case(HERE, "region = eu-west-1\n"),
    "a section twice": Case(HERE, "[default]\nregion = eu-west-1\n[default]\nregion = eu-west-1\n"),
    "a setting twice": Case(HERE, "[default]\nregion = eu-west-1\nregion = eu-west-2\n"),
    "no endpoint": Case({**HERE, "AWS_ENDPOINT_URL": "nowhere"}),
    "a region that is none": Case({**KEYS, "AWS_DEFAULT_REGION": "eu west"}),
    "a role without its source": Case(HERE, "[profile r]\nrole_arn = arn\n", options={"profile": "r"}),
}


@pytest.mark.parametrize("name", SAME)
def test_it_resolves_as_botocore_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(SAME[name], tmp_path, monkeypatch)
    assert _normal(ours(SAME[name])) == _normal(of_botocore(SAME[name]))


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_botocore_refuses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(REFUSED[name], tmp_path, monkeypatch)
    with pytest.raises((BotoCoreError, ValueError)):
        of_botocore(REFUSED[name])
    with pytest.raises(ClientConfigError):
        ours(REFUSED[name])


def _normal(found: Found) -> Found:
    # Hosts and schemes have no case, and certificates matter to TLS only.
    bundle = found.ca_bundle if found.url.startswith("https") else None
    proxy = found.proxy.replace("http://127.0.0.1:1/", "") if found.proxy else None
    return Found(found.url.lower(), found.region, found.keys, bundle, proxy)


DIFFERENT = {
    "AWS_REGION is read, and before the older variable": (
        Case({**HERE, "AWS_REGION": "us-west-2"}),
        Found("https://lambda.us-west-2.amazonaws.com", "us-west-2", ("AKIDENV", "env-secret", None)),
    ),
    "an own endpoint needs no region": (
        Case({**KEYS, "AWS_ENDPOINT_URL": OWN}),
        Found(OWN, "us-east-1", ("AKIDENV", "env-secret", None)),
    ),
    "an own endpoint needs no keys": (Case({"AWS_ENDPOINT_URL": OWN}), Found(OWN, "us-east-1", None)),
    "a bare address of version 6 needs no proxy": (
        Case({**KEYS, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "::1", "AWS_ENDPOINT_URL": "http://[::1]:81"}),
        Found("http://[::1]:81", "us-east-1", ("AKIDENV", "env-secret", None)),
    ),
    "blanks between hosts": (
        Case({**KEYS, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "a b", "AWS_ENDPOINT_URL": "http://b"}),
        Found("http://b", "us-east-1", ("AKIDENV", "env-secret", None)),
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_it_departs_from_botocore_where_that_helps(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, expected = DIFFERENT[name]
    prepare(case, tmp_path, monkeypatch)
    assert ours(case) == expected


def test_what_the_program_says_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(KEYS, "garbage", "garbage", {"region": "eu-west-1", "endpoint_url": OWN})
    prepare(case, tmp_path, monkeypatch)
    assert ours(case).url == OWN


@pytest.fixture(scope="module")
def rules() -> EndpointProvider:
    loader = Loader()
    return EndpointProvider(loader.load_service_model("lambda", "endpoint-rule-set-1"), loader.load_data("partitions"))


def test_the_address_of_every_region_is_botocores(rules: EndpointProvider) -> None:
    partitions = Loader().load_data("partitions")["partitions"]
    regions = {region for partition in partitions for region in partition["regions"]}
    assert len(regions) > 40
    for region in sorted(regions | {"eu-west-9", "cn-east-7", "us-gov-north-1", "us-isof-west-2", "mars-north-1"}):
        for fips in (False, True):
            for dual_stack in (False, True):
                theirs = rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual_stack).url
                found = aws_endpoint(region, fips=fips, dual_stack=dual_stack)
                assert found == theirs
                assert is_aws(parse_endpoint(found).host)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("vpce-0a1b-2c.lambda.eu-west-1.vpce.amazonaws.com", True),
        ("LAMBDA.eu-west-1.amazonaws.com", True),
        ("lambda.eu-west-1.amazonaws.com.", True),
        ("mine-123.eu-west-1.elb.amazonaws.com", False),
        ("lambda.eu-west-1.amazonaws.com.example.org", False),
        ("lambda.example", False),
        ("127.0.0.1", False),
    ],
)
def test_it_knows_awss_own_hosts(host: str, is_it: bool) -> None:
    assert is_aws(host) is is_it


@pytest.mark.parametrize("host", ["vpce-0-1.lambda.eu-west-1.vpce.amazonaws.com", "lambda.eu-west-1.amazonaws.com"])
def test_an_endpoint_that_is_awss_needs_region_and_keys(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Case(), tmp_path, monkeypatch)
    with pytest.raises(ClientConfigError, match="no region: give region="):
        resolve(ClientConfig(endpoint_url=f"https://{host}"))
    with pytest.raises(ClientConfigError, match="no access key was found: set AWS_ACCESS_KEY_ID"):
        resolve(ClientConfig(endpoint_url=f"https://{host}", region="eu-west-1")).provider()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"connect_timeout": 0}, "connect_timeout is 0: it is a number of seconds above 0"),
        ({"connect_timeout": True}, "connect_timeout is True"),
        ({"read_timeout": float("nan")}, "read_timeout is nan"),
        ({"read_timeout": 1e9}, "1000000 at most"),
        ({"pool_timeout": None}, "pool_timeout is None"),
        ({"max_attempts": 0}, "max_attempts is 0: it is a whole number"),
        ({"max_connections": 1.5}, "max_connections is 1.5"),
        ({"region": 7}, "region is of type int: it is a text"),
        ({"region": "eu\nwest", "endpoint_url": OWN}, "is no name of a region"),
        ({"region": "x" * 64, "endpoint_url": OWN}, "is no name of a region"),
        ({"region": "EU_WEST"}, "'EU_WEST' is no name of a region"),
        ({"region": "fips-us-east-1"}, "us-east-1 is, with AWS_USE_FIPS_ENDPOINT=true"),
        ({"endpoint_url": b"http://x"}, "endpoint_url is of type bytes"),
        ({"endpoint_url": "ftp://x"}, "'ftp://x' is no address of an endpoint"),
        ({"endpoint_url": "http://x/?a=b"}, "is no address of an endpoint"),
        ({"endpoint_url": "http://x:0"}, "is no address of an endpoint"),
        ({"endpoint_url": "http://x:99999"}, "is no address of an endpoint"),
        ({"endpoint_url": "http://a b"}, "it holds what no address holds"),
        ({"endpoint_url": 'http://a"b'}, "it holds what no address holds"),
        ({"endpoint_url": "http://a/é"}, "it holds what no address holds"),
        ({"endpoint_url": "http://"}, "is no address of an endpoint"),
        ({"profile": 1}, "profile is of type int"),
        ({"ca_bundle": True}, "ca_bundle is of type bool"),
        ({"unsigned": "yes"}, "unsigned is of type str: it is True or False"),
        ({"retry_invokes": 1}, "retry_invokes is of type int"),
        ({"proxies": "http://x"}, "proxies are by scheme"),
        ({"proxies": {"HTTPS": "http://x"}}, "proxies are by scheme"),
        ({"proxies": {"https": 1}}, "proxies are by scheme"),
        ({"proxies": {"http": "socks5://x"}, "endpoint_url": OWN}, "a proxy of the scheme socks5 is not served"),
        ({"proxies": {"http": "http://x:0"}, "endpoint_url": OWN}, "the address of the proxy cannot be read"),
        ({"credentials": "AKID"}, "credentials are Credentials"),
        ({"credentials": dict}, "credentials are Credentials"),
        ({"credentials": lambda: None, "unsigned": True}, "exclude each other"),
    ],
)
def test_what_makes_no_client_is_refused(
    options: dict[str, Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Case(), tmp_path, monkeypatch)
    with pytest.raises(ClientConfigError, match=text):
        resolve(ClientConfig(**options))


def test_an_unknown_option_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="there is no option retries: the options are region"):
        ClientConfig(retries=3)  # type: ignore[call-arg]


def test_a_configuration_is_a_value() -> None:
    config = ClientConfig(region="eu-west-1", proxies={"https": "http://u:p@x"})
    again = config.replaced(max_attempts=1)
    assert (again.region, again.max_attempts, config.max_attempts) == ("eu-west-1", 1, 3)
    assert copy.deepcopy(config) == copy.copy(config) == pickle.loads(pickle.dumps(config)) == config != again
    assert repr(config) == "ClientConfig(region='eu-west-1', proxies=...)"
    with pytest.raises(AttributeError, match="replaced"):
        config.region = "x"


def test_importing_the_client_loads_nothing_heavy() -> None:
    heavy = "aiohttp asyncio botocore configparser dataclasses email http inspect ssl subprocess yarl"
    program = f"import sys, venturekit.client; print(sorted(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    st.sampled_from(["http", "https"]), hosts, st.none() | st.integers(1, 65535), st.sampled_from(["", "/", "/a/b/"])
)
def test_addresses_are_read_and_written(scheme: str, host: str, port: int | None, path: str) -> None:
    url = f"{scheme}://{host}{'' if port is None else f':{port}'}{path}"
    found = parse_endpoint(url)
    assert (found.scheme, found.host, found.path) == (scheme, host, path.rstrip("/"))
    assert found.port == (port or {"http": 80, "https": 443}[scheme])
    assert parse_endpoint(found.url) == found


@given(st.text(max_size=40))
def test_no_address_tears_a_request(text: str) -> None:
    for parse in (parse_endpoint, parse_proxy):
        for url in (text, f"http://{text}", f"http://h/{text}"):
            try:
                found = parse(url)
            except EndpointError:
                continue
            assert not set(found.host) & set(' \r\n\t/@"\\')
            assert found.host.isascii()
            assert 0 < found.port < 65536
