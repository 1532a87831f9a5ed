"""Run as a program by the crash test: stores functions without end, printing each name after it is durable."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from venturekit.service.store import Store, VersionRow


async def main(path: str, prefix: str) -> None:
    store = Store.open(Path(path), reserve_size_bytes=4096)
    print("ready", flush=True)

    async def one_caller(caller: int) -> None:
        for number in range(1_000_000):
            name = f"{prefix}-{caller}-{number}"
            await store.of_account("000000000000").create_function(
                name, {"tags": {}}, [VersionRow("1", "r", {"pad": "x" * 200})]
            )
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()

    await asyncio.gather(*(one_caller(caller) for caller in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
