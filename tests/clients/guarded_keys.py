"""The keys of the service that the tests of access control share."""

from __future__ import annotations

from tests.clients.client_support import OTHER, Key, arn, statement

FULL = Key("full", (statement("lambda:*"), statement("logs:*")))
READER = Key("reader", (statement(["lambda:Get*", "lambda:List*"]),))
INVOKER = Key("invoker", (statement("lambda:InvokeFunction", arn("target")),))
QUALIFIED = Key("qualified", (statement("lambda:invokefunction", arn("targ?t:*")),))
CAREFUL = Key(
    "careful",
    (statement("lambda:*"), statement(["lambda:DeleteFunction", "lambda:InvokeFunction"], arn("guarded-*"), "Deny")),
)
SESSION = Key("session", (statement("lambda:*"),), token="token-0123456789/+=")
LASTING = Key("lasting", (statement("lambda:*"),), token="token-of-lasting-0", expires="2999-01-01T00:00:00Z")
EXPIRED = Key("expired", (statement("lambda:*"),), expires="2020-01-01T00:00:00Z")
NOBODY = Key("nobody")
NEIGHBOUR = Key("neighbour", (statement("lambda:*"),), account_id=OTHER)
STRANGER = Key("stranger", account_id=OTHER)
KEYS = (FULL, READER, INVOKER, QUALIFIED, CAREFUL, SESSION, LASTING, EXPIRED, NOBODY, NEIGHBOUR, STRANGER)
