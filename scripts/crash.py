"""The long form of tests/reliability: hundreds of kills under a hundred thousand events. Started by scripts/crash."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.reliability.campaign import Campaign
from tests.reliability.workload import Files

if TYPE_CHECKING:
    from tests.reliability.checker import Findings

REST_SECONDS = 600.0
PROMISES = {
    "lost": "every acknowledged event is there",
    "terminal": "every event has ended, once",
    "history": "every history is a possible one",
    "outcome": "every event has ended as it had to",
    "destined": "what failed has arrived at its destination",
    "extra runs": "what ran again was running at a kill",
    "late": "what waits runs within 2 s after a restart",
    "damaged": "the database is whole",
}


def show(findings: Findings) -> None:
    """Print what was found: promises first, then figures."""
    console = Console()
    promises = Table("Promise", "Broken", title="Promises")
    for kind, promise in PROMISES.items():
        promises.add_row(promise, str(len(findings.violations.get(kind, ()))))
    figures = Table("Figure", "Value", title="Figures")
    for name, value in findings.figures.items():
        figures.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    for table in (promises, figures):
        table.columns[1].justify = "right"
        console.print(table)
    if findings.violations:
        console.print(findings.report(), markup=False)


def main() -> int:
    """Run it. Returns the exit status: 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often the service is killed (default: 200)")
    parser.add_argument("--events", type=int, default=100_000, help="how many events are accepted (default: 100000)")
    parser.add_argument("--seed", type=int, default=None, help="of the events and the kills (default: a new one)")
    given = parser.parse_args()
    if given.kills < 0 or given.events < 1:
        parser.error("--kills is 0 or more, --events 1 or more")
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="venturekit-crash-"))
    campaign = Campaign(
        Files(folder),
        seed=seed,
        kills=given.kills,
        events=given.events,
        rest_seconds=REST_SECONDS,
        say=lambda text: print(text, flush=True),
    )
    findings = campaign.run()
    show(findings)
    if findings.violations:
        print(f"A promise was broken. Again: scripts/crash --seed {seed}. Everything is in {folder}")
        return 1
    shutil.rmtree(folder)
    print("No promise was broken.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
