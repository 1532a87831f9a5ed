"""AWS's SDK for JavaScript, version 3, unmodified: one process of node's that runs one case after the other."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "javascript"
ANSWER_SECONDS = 60.0


class JavaScript:
    """Programs of sdk_cases.mjs, with credentials of an account and the address of a service in the environment."""

    def __init__(self, url: str, account_id: str) -> None:
        installed = (FOLDER / "node_modules" / "@aws-sdk" / "client-lambda").is_dir()
        assert installed, "npm's packages are missing: run scripts/test once, it installs them"
        environ = {
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL_LAMBDA": url,
            "AWS_ACCESS_KEY_ID": account_id,
            "AWS_SECRET_ACCESS_KEY": "any-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._process = subprocess.Popen(
            ["node", "sdk_runner.mjs"],
            cwd=FOLDER,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input, self._output = self._process.stdin, self._process.stdout
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)
        self._lines.put("")

    def run(self, case: str, /, **given: Any) -> Any:
        """What the case gives. Raises AssertionError with what it throws."""
        self._input.write(json.dumps({"name": case, "given": given}) + "\n")
        self._input.flush()
        line = self._lines.get(timeout=ANSWER_SECONDS)
        assert line, "node has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def close(self) -> None:
        with suppress(OSError):
            self._input.write("end\n")
            self._input.close()
        try:
            self._process.wait(ANSWER_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._output.close()
