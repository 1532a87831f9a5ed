"""Terraform's resource ``aws_lambda_function``: what the AWS provider calls for it and reads, with which members.

Source: the provider's code, version 6.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.clients.client_support import refused
from tests.service.harness import PYTHON, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE = "arn:aws:iam::620000000000:role/service-role/lambda"
ARN = re.compile(r"arn:[^:]+:lambda:([^:]+):(\d{12}):function:([^:]+)(?::(.+))?")


def code(text: str = "v1") -> bytes:
    return zip_of({"app.py": f"def handler(event, context):\n    return {text!r}\n"})


def not_found(call: Any, **members: Any) -> bool:
    """Whether a read says that the thing is gone, as the provider knows it: by the error's class."""
    return refused(call, **members)[:2] == (404, "ResourceNotFoundException")


DEFAULTS = {"Description": "", "MemorySize": 128, "Timeout": 3, "PackageType": "Zip", "Publish": False}


class FunctionResource:
    """One ``aws_lambda_function``."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def create(self, data: bytes, *, reserved: int = -1, **members: Any) -> dict[str, Any]:
        given = {**DEFAULTS, "Role": ROLE, "Handler": "app.handler", "Runtime": PYTHON, **members}
        self.client.create_function(FunctionName=self.name, Code={"ZipFile": data}, **given)
        self._wait("State", pending={"Pending"}, target={"Active"})
        if reserved >= 0:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        return self.read()

    def read(self, qualifier: str | None = None) -> dict[str, Any]:
        """The state that a refresh gives."""
        asked = {"FunctionName": self.name} | ({} if qualifier is None else {"Qualifier": qualifier})
        found = self.client.get_function(**asked)
        # Without either the provider takes the function for not there.
        configuration, place = found["Configuration"], found["Code"]
        state = flat(configuration) | {
            "image_uri": place.get("ImageUri"),
            "source_kms_key_arn": place.get("SourceKMSKeyArn"),
            "reserved": found.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
        }
        if qualifier is not None:
            separate = self.client.get_function_concurrency(FunctionName=self.name)
            state["reserved"] = separate.get("ReservedConcurrentExecutions", -1)
        else:
            newest = self._newest_version()
            state |= {"qualified_arn": newest["FunctionArn"], "version": newest["Version"]}
            state["tags"] = found.get("Tags", {})
        signing = self.client.get_function_code_signing_config(FunctionName=self.name)
        return state | {"code_signing_config_arn": signing.get("CodeSigningConfigArn") or ""}

    def _newest_version(self) -> dict[str, Any]:
        """The last item of the last page: the list is taken to go from the oldest to the newest."""
        newest: dict[str, Any] | None = None
        members = {"FunctionName": self.name, "MaxItems": 10_000}
        while True:
            page = self.client.list_versions_by_function(**members)
            if page["Versions"] and page.get("NextMarker") is None:
                newest = page["Versions"][-1]
            if page.get("NextMarker") is None:
                break
            members["Marker"] = page["NextMarker"]
        assert newest is not None
        return newest

    def update(
        self, *, data: bytes | None = None, publish: bool = False, reserved: int | None = None, **changed: Any
    ) -> dict[str, Any]:
        """Configuration first, then code, concurrency, and a version."""
        if changed:
            self.client.update_function_configuration(FunctionName=self.name, **changed)
            self._wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        if data is not None:
            self.client.update_function_code(FunctionName=self.name, ZipFile=data)
            self._wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        if reserved is not None and reserved >= 0:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        elif reserved is not None:
            self.client.delete_function_concurrency(FunctionName=self.name)
        if publish:
            made = self.client.publish_version(FunctionName=self.name)
            # The ARN has the version, and the version is given once more.
            assert made["FunctionArn"].endswith(f":{made['Version']}")
            version = {"FunctionName": made["FunctionArn"], "Qualifier": made["Version"]}
            until(lambda: self._version_is_updated(version), "the version is there")
        return self.read()

    def _version_is_updated(self, version: Mapping[str, str]) -> bool:
        status = self.client.get_function_configuration(**version).get("LastUpdateStatus", "InProgress")
        assert status in {"InProgress", "Successful"}
        return bool(status == "Successful")

    def destroy(self) -> None:
        self.client.delete_function(FunctionName=self.name)
        assert not_found(self.client.get_function, FunctionName=self.name)
        # Destroyed twice, for instance by hand before, is destroyed.
        assert not_found(self.client.delete_function, FunctionName=self.name)

    def _wait(self, member: str, *, pending: set[str], target: set[str]) -> None:
        def reached() -> bool:
            status = self.client.get_function(FunctionName=self.name)["Configuration"][member]
            assert status in pending | target, f"unexpected state {status}"
            return status in target

        until(reached, f"{member} is one of {target}")


def flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the provider keeps it; what may be left out is read as Go reads it."""
    vpc = found.get("VpcConfig") or {}
    snap_start = found.get("SnapStart") or {}
    logging = found["LoggingConfig"]
    return {
        "arn": found["FunctionArn"],
        "architectures": found["Architectures"],
        "code_sha256": found["CodeSha256"],
        "dead_letter_config": found.get("DeadLetterConfig", {}).get("TargetArn"),
        "description": found["Description"],
        "durable_config": found.get("DurableConfig"),
        "environment": found.get("Environment", {}).get("Variables", {}),
        "environment_error": found.get("Environment", {}).get("Error"),
        "ephemeral_storage": found["EphemeralStorage"]["Size"],
        "file_system_config": found.get("FileSystemConfigs", []),
        "handler": found["Handler"],
        "image_config": found.get("ImageConfigResponse"),
        "kms_key_arn": found.get("KMSKeyArn") or "",
        "layers": [layer["Arn"] for layer in found.get("Layers", [])],
        "logging_config": (
            logging["LogFormat"],
            logging["LogGroup"],
            logging.get("ApplicationLogLevel", ""),
            logging.get("SystemLogLevel", ""),
        ),
        "memory_size": found["MemorySize"],
        "package_type": found["PackageType"],
        "role": found["Role"],
        "runtime": found["Runtime"],
        "signing": (found.get("SigningJobArn"), found.get("SigningProfileVersionArn")),
        "snap_start": None if snap_start.get("ApplyOn", "None") == "None" else snap_start,
        "source_code_size": found["CodeSize"],
        "tenancy_config": found.get("TenancyConfig"),
        "timeout": found["Timeout"],
        "tracing_config": found.get("TracingConfig", {"Mode": "PassThrough"})["Mode"],
        "vpc_config": (vpc.get("SubnetIds") or [], vpc.get("SecurityGroupIds") or []),
    }


def unchanged(before: Mapping[str, Any], after: Mapping[str, Any], *but: str) -> None:
    """Nothing else has changed: the next plan is empty."""
    assert {key for key in before if before[key] != after[key]} == set(but)
