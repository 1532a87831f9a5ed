"""The table of function URLs: what the service hands out, what the front process makes of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.front.table import UrlTable
from venturekit.service import url_table
from venturekit.service.functions.settings import URL_CONFIGS

ACCOUNT, REGION = "123456789012", "us-east-1"


@dataclass
class Function:
    settings: dict[str, Any]


@dataclass
class Registry:
    """Stands for an account's functions: their settings are all that the table looks at."""

    account_id: str = ACCOUNT
    held: dict[str, Function] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.held

    def function(self, name: str) -> Function:
        return self.held[name]

    def arn(self, name: str, qualifier: str | None = None) -> str:
        return f"arn:aws:lambda:{REGION}:{self.account_id}:function:{name}" + (f":{qualifier}" if qualifier else "")


class Pair:
    """The table of a service and that of a front process."""

    def __init__(self) -> None:
        self.closed: set[str] = set()
        self.registry = Registry()
        self.here = url_table.UrlTable(lambda arn: f"{arn} is closed" if arn in self.closed else None)
        self.there = UrlTable()

    def configure(self, name: str, **configs: str) -> None:
        """Give a function URLs by qualifier (``_`` is the function itself) with this authorization."""
        found = {qualifier.strip("_"): {"AuthType": kind} for qualifier, kind in configs.items()}
        self.registry.held[name] = Function({URL_CONFIGS: found})
        self.here.function_changed(self.registry, name)  # type: ignore[arg-type]

    def delete(self, name: str) -> None:
        self.registry.held.pop(name, None)
        self.here.function_changed(self.registry, name)  # type: ignore[arg-type]

    def follow(self) -> int:
        """Read until nothing is new; the number of pages."""
        for number in itertools.count(1):
            page = self.here.page(self.there.revision)
            self.there.apply(page)
            if not page["more"]:
                return number
        raise AssertionError

    def same(self) -> bool:
        known = {url.id: url for url in self.there._urls.values()}
        return set(known) == set(self.here._entries) and all(
            url.public_allowed == self.here._entries[name]["publicAllowed"]
            and url.needs_signature == (self.here._entries[name]["authType"] == "AWS_IAM")
            for name, url in known.items()
        )


def test_an_entry_says_what_a_call_needs() -> None:
    pair = Pair()
    pair.registry.held["f"] = Function(
        {
            URL_CONFIGS: {
                "": {"AuthType": "NONE", "Cors": {"AllowOrigins": ["*"]}},
                "live": {"AuthType": "AWS_IAM", "InvokeMode": "RESPONSE_STREAM"},
            }
        }
    )
    arn = pair.registry.arn("f")
    pair.closed = {arn, f"{arn}:live"}
    pair.here.function_changed(pair.registry, "f")  # type: ignore[arg-type]
    page = pair.here.page(0)
    own, alias = page["urls"]
    assert (page["revision"], page["more"], page["reset"], page["removed"]) == (2, False, False, [])
    assert own == {
        "id": own["id"],
        "accountId": ACCOUNT,
        "functionName": "f",
        "qualifier": None,
        "functionArn": arn,
        "authType": "NONE",
        "invokeMode": "BUFFERED",
        "cors": {"AllowOrigins": ["*"]},
        "publicAllowed": False,
        "refusal": f"{arn} is closed",
        "revision": 1,
    }
    # Nobody is let in without a signature there, so nobody is asked about.
    assert (alias["functionArn"], alias["qualifier"], alias["refusal"]) == (f"{arn}:live", "live", None)
    pair.follow()
    found = pair.there.find(own["id"])
    assert found is not None
    assert found.cors is not None
    assert (found.needs_signature, found.streams, found.public_allowed) == (False, False, False)
    other = pair.there.find(alias["id"])
    assert other is not None
    assert (other.needs_signature, other.streams, other.cors) == (True, True, None)


def test_a_change_that_concerns_no_url_is_none() -> None:
    pair, heard = Pair(), []
    pair.here.changed = lambda: heard.append(pair.here.revision)
    pair.configure("f", _="NONE")
    pair.configure("f", _="NONE")
    pair.delete("never-was")
    assert heard == [1]
    pair.closed = {pair.registry.arn("f")}
    pair.configure("f", _="NONE")
    pair.delete("f")
    assert heard == [1, 2, 3]


def test_a_page_is_bounded_and_the_next_one_goes_on() -> None:
    pair = Pair()
    for number in range(url_table.PAGE_ENTRIES * 2 + 3):
        pair.configure(f"f{number}", _="NONE")
    assert pair.follow() == 3
    assert pair.same()
    assert pair.follow() == 1


def test_who_was_away_for_too_long_reads_the_table_anew() -> None:
    pair = Pair()
    pair.configure("kept", _="NONE")
    pair.configure("gone", _="NONE")
    pair.follow()
    pair.delete("gone")
    for number in range(url_table.REMOVED_LIMIT + 5):
        pair.configure(f"f{number}", _="NONE")
        pair.delete(f"f{number}")
    assert pair.here.page(pair.there.revision)["reset"] is True
    pair.follow()
    assert len(pair.there) == 1
    assert pair.same()
    assert pair.here.page(10**9)["reset"] is True


def test_a_page_that_was_overtaken_changes_nothing() -> None:
    pair = Pair()
    pair.configure("f", _="NONE")
    late = pair.here.page(0)
    pair.delete("f")
    pair.follow()
    pair.there.apply(late)
    assert len(pair.there) == 0


STEPS = st.tuples(
    st.sampled_from(["NONE", "AWS_IAM", "delete", "alias", "close", "open", "read", "reread"]), st.integers(0, 3)
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=200)
def test_both_tables_agree_whenever_all_was_read(steps: list[tuple[str, int]]) -> None:
    pair = Pair()
    earlier = pair.here.page(0)
    for what, number in steps:
        name = f"f{number}"
        if what in ("NONE", "AWS_IAM"):
            pair.configure(name, _=what)
        elif what == "alias":
            pair.configure(name, _="NONE", live="AWS_IAM")
        elif what == "delete":
            pair.delete(name)
        elif what in ("close", "open"):
            (pair.closed.add if what == "close" else pair.closed.discard)(pair.registry.arn(name))
            pair.here.function_changed(pair.registry, name)  # type: ignore[arg-type]
        elif what == "read":
            pair.follow()
            assert pair.same()
            earlier = pair.here.page(0)
        else:
            # An answer of another connection that arrives late.
            pair.there.apply(earlier)
    pair.follow()
    assert pair.same()
