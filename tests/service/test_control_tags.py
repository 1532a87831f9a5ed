"""Tags through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import PYTHON, ROLE, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return 1\n"


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_the_life_of_tags(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE, Tags={"a": "1"})
    arn = f"{ARN}:{name}"
    tagged = client.tag_resource(Resource=arn, Tags={"b": "zwei ü", "a/b:c=d+e-f@g": ""})
    assert tagged["ResponseMetadata"]["HTTPStatusCode"] == 204
    expected = {"a": "1", "b": "zwei ü", "a/b:c=d+e-f@g": ""}
    assert client.list_tags(Resource=arn)["Tags"] == expected
    assert client.get_function(FunctionName=name)["Tags"] == expected
    untagged = client.untag_resource(Resource=arn, TagKeys=["a", "a/b:c=d+e-f@g", "none"])
    assert untagged["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "zwei ü"}
    client.untag_resource(Resource=arn, TagKeys=["b"])
    assert client.list_tags(Resource=arn)["Tags"] == {}


def test_limits(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    arn = f"{ARN}:{name}"
    longest = {"k" * 128: "v" * 256}
    client.tag_resource(Resource=arn, Tags=longest)
    for tags in ({"k" * 129: "v"}, {"k": "v" * 257}, {"ke!y": "v"}):
        status, code, text = refused(client.tag_resource, Resource=arn, Tags=tags)
        assert (status, code) == (400, "ValidationException")
        assert "at 'tags' failed to satisfy constraint: Map " in text
    found = refused(client.tag_resource, Resource=arn, Tags={f"k{number}": "" for number in range(50)})
    assert found == (400, "InvalidParameterValueException", "Number of tags exceeds resource tag limit.")
    assert refused(client.tag_resource, Resource=arn, Tags={"aws:x": ""})[1] == "InvalidParameterValueException"
    assert client.list_tags(Resource=arn)["Tags"] == longest
    code = {"ZipFile": zip_of({"app.py": SOURCE})}
    members = {"FunctionName": "tagged-wrongly", "Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE}
    found = refused(client.create_function, **members, Code=code, Tags={f"k{number}": "" for number in range(51)})
    assert found[2] == "Number of tags exceeds resource tag limit."


def test_what_is_no_function(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE)
    found = refused(client.tag_resource, Resource=f"{ARN}:{name}:$LATEST", Tags={"a": "1"})
    assert found == (
        400,
        "InvalidParameterValueException",
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    )
    assert refused(client.list_tags, Resource=f"{ARN}:nobody")[2] == f"Function not found: {ARN}:nobody"
    mapping = "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:01234567-89ab-cdef-0123-456789abcdef"
    assert refused(client.list_tags, Resource=mapping)[0] == 404
    layer = "arn:aws:lambda:us-east-1:000000000000:layer:x"
    assert refused(client.list_tags, Resource=layer)[1] == "ValidationException"


def test_untagging_without_a_key(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    target = f"/2017-03-31/tags/{quote(f'{ARN}:{name}', safe='')}"
    answer = send(functions.url, "DELETE", target, headers={"X-Amz-Client": "test"})
    assert answer.status == 400
    assert answer.json == {
        "message": "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: "
        "Member must not be null"
    }
