"""Code that an unmodified client has put into S3: the whole service against a real S3 server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from tests.service.harness import PYTHON, ROLE, FunctionSet, client_of, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import RunningService

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


def code(answer: str) -> bytes:
    return zip_of({"app.py": f"def handler(event, context):\n    return {answer!r}\n"})


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, Any]]:
    """The URL of an S3 with the bucket ``code``, and a client of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="code")
    yield url, client
    server.stop()


@pytest.fixture
def served(s3: tuple[str, Any], start_service: Callable[..., RunningService]) -> FunctionSet:
    running = start_service(environ={**os.environ, **KEYS, "AWS_ENDPOINT_URL_S3": s3[0]})
    return FunctionSet(running.url, client_of(running.url))


def test_functions_and_layers_from_s3(s3: tuple[str, Any], served: FunctionSet) -> None:
    bucket = s3[1]
    bucket.put_object(Bucket="code", Key="first.zip", Body=code("first"))
    bucket.put_object(Bucket="code", Key="second.zip", Body=code("second"))
    bucket.put_object(Bucket="code", Key="layer.zip", Body=zip_of({"python/shared.py": "name = 'layer'\n"}))
    layer = served.client.publish_layer_version(LayerName="l", Content={"S3Bucket": "code", "S3Key": "layer.zip"})
    served.client.create_function(
        FunctionName="f",
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Code={"S3Bucket": "code", "S3Key": "first.zip"},
        Layers=[layer["LayerVersionArn"]],
    )
    served.wait_active("f")
    assert served.invoke("f").value == "first"
    # The service keeps its own copy.
    bucket.delete_object(Bucket="code", Key="first.zip")
    served.client.update_function_code(FunctionName="f", S3Bucket="code", S3Key="second.zip")
    served.wait_updated("f")
    assert served.invoke("f").value == "second"


def test_an_object_that_is_not_there_changes_nothing(s3: tuple[str, Any], served: FunctionSet) -> None:
    s3[1].put_object(Bucket="code", Key="kept.zip", Body=code("kept"))
    name = served.create(files={"app.py": "def handler(event, context):\n    return 'kept'\n"})
    before = served.client.get_function_configuration(FunctionName=name)
    with pytest.raises(ClientError) as caught:
        served.client.update_function_code(FunctionName=name, S3Bucket="code", S3Key="missing.zip")
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    assert error["Message"] == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )
    after = served.client.get_function_configuration(FunctionName=name)
    del before["ResponseMetadata"], after["ResponseMetadata"]
    assert after == before
