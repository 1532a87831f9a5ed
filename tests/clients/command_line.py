"""The AWS CLI, unmodified, as somebody types it. (test_aws_cli.py starts it as a program.)"""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING, Any

from tests.service.harness import PYTHON, ROLE
from tests.warm import warm_command

if TYPE_CHECKING:
    from pathlib import Path

_ACCOUNTS = itertools.count(610_000_000_000)


class Shell:
    """A folder in which somebody types ``aws lambda ...``, signed for an account of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.account_id = str(next(_ACCOUNTS))
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": self.account_id,
            "AWS_SECRET_ACCESS_KEY": "any-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_LAMBDA": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def run(self, line: str, *more: str) -> tuple[int, str, str]:
        """Type a line, in which words stand between blanks; ``more`` are arguments with blanks in them."""
        status, out, err = warm_command("aws").run(
            ["lambda", *line.split(), *more], cwd=self.folder, env=self._environ, stdin=b"", seconds=60
        )
        return status, out.decode(), err.decode()

    def __call__(self, line: str, *more: str) -> Any:
        """Type a line that succeeds; its output as JSON, None when there is none."""
        status, output, errors = self.run(line, *more)
        assert status == 0, (line, errors)
        return json.loads(output) if output.strip() else None

    def text(self, line: str) -> str:
        """Type a line that succeeds and prints text."""
        status, output, errors = self.run(f"{line} --output text")
        assert status == 0, (line, errors)
        return output.strip()

    def fails(self, line: str) -> str:
        """Type a line that is refused; what it says."""
        status, output, errors = self.run(line)
        assert (status, output) == (255, ""), line
        return errors.strip()

    def invoke(self, name: str, *options: str) -> Any:
        """Invoke, and read the answer from the file."""
        invoked = self(f"invoke --function-name {name} out.json", *options)
        assert (invoked["StatusCode"], invoked.get("FunctionError")) == (200, None)
        return json.loads((self.folder / "out.json").read_text())

    def create(self, name: str, options: str = "") -> Any:
        made = self(
            f"create-function --function-name {name} --runtime {PYTHON} --handler app.handler --role {ROLE} "
            f"--zip-file fileb://code.zip {options}"
        )
        assert self(f"wait function-active-v2 --function-name {name}") is None
        return made

    def arn(self, name: str) -> str:
        return f"arn:aws:lambda:us-east-1:{self.account_id}:function:{name}"
