"""``vk websockets``: a WebSocket API is made, seen, changed and taken away."""

from __future__ import annotations

from websockets.sync.client import connect


def test_an_api_comes_changes_and_goes(service):
    done = service.vk("websockets", "create", "chat", "--default", "app", "--respond", "$default")
    assert (done.status, done.err) == (0, "")
    url = done.out.decode().strip()
    shown = service.vk("websockets", "show", "chat", "--json").json
    assert (shown["url"], shown["routes"], shown["stage"]) == (url, {"$default": "app"}, "dev")
    assert url.startswith(f"ws://{shown['apiId']}.execute-api.localhost:")
    with connect(shown["pathUrl"], proxy=None) as client:
        client.send("hello")
        # Its function answers with the event, which is no answer to a route.
        assert "Internal server error" in client.recv(20)

    options = ("--route", "a=b=app", "--stage", "prod", "--idle-timeout", "60", "--select", "$request.body.kind")
    changed = service.vk("websockets", "create", "chat", "--connect", "app", "--disconnect", "app", *options, "--json")
    assert changed.json["routes"] == {"$connect": "app", "$disconnect": "app", "a=b": "app"}
    assert (changed.json["apiId"], changed.json["stage"]) == (shown["apiId"], "prod")
    assert (changed.json["idleTimeoutSeconds"], changed.json["routeSelectionExpression"]) == (60, "$request.body.kind")
    assert b"route a=b\tapp\n" in service.vk("websockets", "show", "chat").out

    listed = service.vk("websockets", "list")
    assert listed.out.decode().split("\t")[:3] == ["chat", "prod", "$connect $disconnect a=b"]
    assert [api["name"] for api in service.vk("websockets", "list", "--json").json] == ["chat"]

    assert service.vk("websockets", "delete", "chat").status == 0
    assert service.vk("websockets", "list", "--json").json == []
    for command in ("show", "delete"):
        gone = service.vk("websockets", command, "chat")
        assert (gone.status, "there is no WebSocket API 'chat'" in gone.err) == (3, True)


def test_what_is_wrong_is_said(service):
    for arguments, status, word in (
        (("--route", "nothing"), 2, "ACTION=FUNCTION"),
        (("--default", "nobody"), 1, "there is no function nobody; create it first"),
        ((), 1, "routes must be an object"),
        (("--default", "app", "--idle-timeout", "0"), 1, "idleTimeoutSeconds"),
    ):
        done = service.vk("websockets", "create", "wrong", *arguments)
        assert (done.status, word in done.err) == (status, True), done.err
