"""The chat of the examples in a browser: pages that say who they are, talk to one another, and vanish."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Error, expect

from tests.browser.conftest import BOUND_MS
from tests.service.framework_support import with_framework
from tests.service.harness import send, until
from tests.service.url_support import make_url
from venturekit.front.websocket_ids import draw_connection_id
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
from venturekit.runtime.ws import create_connection_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.service.harness import FunctionSet, RunningService
    from venturekit.runtime.ws import ConnectionStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat" / "src"
KEY = "a key of the tests"
# Connects with a token of the test's, or none, and gives the first answer to a message.
FIRST_ANSWER = """
([address, message]) => new Promise((resolve, reject) => {
  const socket = new WebSocket(address);
  socket.onopen = () => socket.send(message);
  socket.onmessage = event => { resolve(JSON.parse(event.data)); socket.close(); };
  socket.onclose = event => reject(new Error(`closed ${event.code}`));
})
"""
REFUSED = """
address => new Promise(resolve => {
  const socket = new WebSocket(address);
  socket.onopen = () => resolve("open");
  socket.onclose = event => resolve(event.code);
})
"""


class Chat:
    """The three functions of the example, and a look into what they know."""

    def __init__(self, functions: FunctionSet, folder: Path) -> None:
        self.functions = functions
        code = {str(path.relative_to(EXAMPLE)): path.read_bytes() for path in EXAMPLE.rglob("*") if path.is_file()}
        variables = {"VENTURE_PROJECT_NAME": "chat", "VENTURE_STAGE": "dev", "VENTURE_RECORDS_DIRECTORY": str(folder)}
        self._given = {"files": code, "base": with_framework(), "Timeout": 20, "MemorySize": 256}
        self._variables = {**variables, "CHAT_KEY": KEY}
        presence, messages = self._create("presence"), self._create("messages")
        routes = {"$connect": presence, "$disconnect": presence, "$default": messages}
        document = json.dumps({"routes": routes}).encode()
        where = "/_venturekit/websocket-apis/chat"
        self.api = send(functions.url, "PUT", where, document, {"X-Amz-Client": "test"}).json
        self.address = str(self.api["url"])
        self.url = make_url(functions.client, self._create("page", CHAT_ADDRESS=self.address)).url
        # The same file as the functions have.
        self.known: ConnectionStore = create_connection_store(SqliteRecordStore(folder / "chat-dev-connections.db"))

    def _create(self, name: str, **variables: str) -> str:
        environment = {"Variables": {**self._variables, **variables}}
        given = {"Handler": f"functions/{name}.main", "Environment": environment, **self._given}
        return self.functions.create(name=f"chat-dev-fn-{name}", **given)

    @property
    def users(self) -> list[str]:
        """Whose connections are known."""
        return sorted(connection.user_id or "" for connection in self.known.get_all())


@pytest.fixture(scope="module")
def chat(browsed_service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    functions = browsed_service.functions()
    yield Chat(functions, tmp_path_factory.mktemp("chat"))
    functions.delete_all()


@pytest.fixture
def pages(browser: Browser, chat: Chat) -> Iterator[Pages]:
    made = Pages(browser, chat)
    yield made
    made.close()
    until(lambda: chat.users == [], "all have left")


class Pages:
    """Pages of the chat, each in a profile of its own."""

    def __init__(self, browser: Browser, chat: Chat) -> None:
        self._browser, self._chat = browser, chat
        self._contexts: list[Any] = []

    def opened(self) -> Page:
        """A page that nobody has come in by."""
        context = self._browser.new_context()
        context.set_default_timeout(BOUND_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.goto(self._chat.url)
        return page

    def of(self, name: str) -> Page:
        """A page by which somebody has come in."""
        page = self.opened()
        page.fill("#name", name)
        page.press("#name", "Enter")
        expect(page.locator("#state")).to_have_text("connected", timeout=BOUND_MS)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def tokens(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's own module for tokens."""
    monkeypatch.setenv("CHAT_KEY", KEY)
    spec = spec_from_file_location("chat_tokens", EXAMPLE / "lib" / "tokens.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def say(page: Page, text: str, to: str = "") -> None:
    page.fill("#to", to)
    page.fill("#text", text)
    page.press("#text", "Enter")


def sees(page: Page, *lines: str) -> None:
    """Wait until the page shows exactly these lines."""
    expect(page.locator("#messages li")).to_have_text(list(lines), timeout=BOUND_MS)


def test_only_who_has_a_good_token_is_heard(chat: Chat, pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokens(monkeypatch)
    alice, page = pages.of("Alice"), pages.opened()

    def answer(**message: Any) -> Any:
        found = page.evaluate(FIRST_ANSWER, [chat.address, json.dumps(message)])
        return found.get("reason") or found

    assert answer(action="ping") == {"action": "pong"}
    for action in ("broadcast", "send", "who"):
        assert answer(action=action, to="Alice", data="not heard") == "unauthorized"
    good, other = made.make_token("Mallory"), made.make_token("Alice")
    head, claims, _ = other.split(".")
    unsigned = made._encoded({"alg": "none", "typ": "JWT"})
    mixed = f"{head}.{claims}.{good.rpartition('.')[2]}"
    for forged in (f"{unsigned}.{claims}.", mixed, f"{head}.{claims}.", "..", "é", "\ud800"):
        assert answer(action="auth", token=forged) == "invalid_token"
    assert answer(action="auth", token=made.make_token("Alice", seconds=-1)) == "expired_token"
    assert answer(action="auth") == "missing_token"
    assert answer(action="auth", token=good) == {"action": "auth", "success": True}
    until(lambda: chat.users == ["Alice"], "Mallory has left")
    sees(alice, "Mallory has left")


def test_messages_to_all_and_to_one(pages: Pages) -> None:
    alice, bob, again = pages.of("Alice"), pages.of("Bob"), pages.of("Bob")
    text = "<b>grüß</b> \U0001f600"
    say(alice, text)
    for page in (alice, bob, again):
        sees(page, f"Alice: {text}")
    say(bob, "psst", to="Alice")
    sees(alice, f"Alice: {text}", "Bob: psst")
    # On all devices of hers, and on nobody else's.
    say(alice, "yes?", to="Bob")
    for page in (bob, again):
        sees(page, f"Alice: {text}", "Alice: yes?")
    say(alice, "hello?", to="Nobody")
    say(alice, "hello?", to=" ")
    sees(alice, f"Alice: {text}", "Bob: psst", "Nobody is not here", "send: validation_error")


def test_a_page_that_vanishes_is_gone(chat: Chat, pages: Pages) -> None:
    stays = pages.of("Stays")
    closed, crashed, killed = pages.of("Closed"), pages.of("Crashed"), pages.of("Killed")
    assert chat.users == ["Closed", "Crashed", "Killed", "Stays"]
    closed.close()
    sees(stays, "Closed has left")
    with suppress(Error):
        crashed.goto("chrome://crash")
    sees(stays, "Closed has left", "Crashed has left")
    killed.context.close()
    sees(stays, "Closed has left", "Crashed has left", "Killed has left")
    until(lambda: chat.users == ["Stays"], "they are forgotten")


def test_a_connection_that_has_ended_is_removed_by_the_next_message(chat: Chat, pages: Pages) -> None:
    # As one whose $disconnect never came.
    stale = draw_connection_id(chat.api["apiId"])
    chat.known.save(stale)
    chat.known.authenticate(stale, {"user_id": "Ghost"})
    alice = pages.of("Alice")
    assert chat.users == ["Alice", "Ghost"]
    say(alice, "boo", to="Ghost")
    sees(alice, "Ghost is not here")
    assert chat.users == ["Alice"]


def test_a_service_that_ends_its_connections_tells_the_page(chat: Chat, pages: Pages) -> None:
    alice, bob = pages.of("Alice"), pages.of("Bob")
    (connection,) = chat.known.get_by_user("Alice")
    target = f"/_ws/{chat.api['apiId']}/dev/@connections/{connection.id.replace('=', '%3D')}"
    host = chat.api["connectionsUrl"].split("/_ws/")[0]
    assert send(host, "DELETE", target, headers={"X-Amz-Client": "test"}).status == 204
    expect(alice.locator("#state")).to_have_text("closed (1000)", timeout=BOUND_MS)
    sees(bob, "Alice has left")
    assert bob.evaluate(REFUSED, chat.address.replace("/dev", "/prod")) == 1006
