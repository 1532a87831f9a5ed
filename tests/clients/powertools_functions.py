"""Functions that use Lambda Powertools for Python as its documentation says, and the layer they find it in."""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution

from tests.service.harness import zip_of

# What `pip install "aws-lambda-powertools[parser,tracer,validation]"` brings; urllib3 and boto3 are the runtime's.
DISTRIBUTIONS = (
    "aws-lambda-powertools",
    "annotated-types",
    "aws-xray-sdk",
    "fastjsonschema",
    "jmespath",
    "pydantic",
    "pydantic-core",
    "typing-extensions",
    "typing-inspection",
    "wrapt",
)


def files_of(*names: str, folder: str = "python/") -> dict[str, bytes]:
    """The installed files of distributions as they are, below ``folder``, by default where a layer has them."""
    found = {}
    for name in names:
        files = distribution(name).files
        assert files, f"{name} is not installed: run scripts/test once"
        for file in files:
            if file.suffix != ".pyc" and ".." not in file.parts:
                found[f"{folder}{file}"] = file.read_binary()
    return found


@cache
def powertools_layer() -> bytes:
    """The archive of a layer with Powertools and what it needs."""
    return zip_of(files_of(*DISTRIBUTIONS))


OBSERVED = """
import os
# The X-Ray SDK reads it while it is imported.
os.environ["AWS_XRAY_DAEMON_ADDRESS"] = os.environ["DAEMON"]

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit

logger, metrics, tracer = Logger(), Metrics(), Tracer(auto_patch=False)

@tracer.capture_method
def pay(amount):
    tracer.put_annotation(key="amount", value=amount)
    logger.append_keys(amount=amount)
    logger.info("paying")
    return amount * 2

@logger.inject_lambda_context(correlation_id_path="order.id", clear_state=True)
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event, context):
    metrics.add_metric(name="Orders", unit=MetricUnit.Count, value=1)
    metrics.add_dimension(name="kind", value="test")
    metrics.add_metadata(key="order", value=event["order"]["id"])
    logger.debug("hidden")
    try:
        paid = pay(event["order"]["amount"])
    except TypeError:
        logger.exception("cannot pay")
        raise
    logger.warning("paid", extra={"paid": paid})
    return {"paid": paid, "correlation": logger.get_correlation_id()}
"""

HTTP = """
from typing import Annotated
from aws_lambda_powertools.event_handler import CORSConfig, LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Query
from aws_lambda_powertools.shared.cookies import Cookie
from pydantic import BaseModel, Field

app = LambdaFunctionUrlResolver(enable_validation=True, cors=CORSConfig(allow_origin="https://shop.example"))

class Order(BaseModel):
    item: str
    count: int = Field(gt=0)

@app.get("/orders/<order_id>")
def get_order(order_id: int, fields: Annotated[list[str], Query()] = []):
    if order_id == 404:
        raise NotFoundError("no such order")
    if order_id == 500:
        raise KeyError(order_id)
    return {"id": order_id, "fields": fields, "ip": app.current_event.request_context.http.source_ip}

@app.post("/orders")
def create_order(order: Order) -> Order:
    return order

@app.get("/login")
def login():
    cookies = [Cookie(name="a", value="1"), Cookie(name="b", value="2")]
    return Response(status_code=201, content_type="text/plain", body="hello", cookies=cookies)

@app.get("/large", compress=True)
def large():
    return {"text": "x" * 5000}

@app.get("/bytes")
def raw():
    return Response(status_code=200, content_type="application/octet-stream", body=bytes(range(256)))

@app.exception_handler(KeyError)
def missing(error):
    return Response(status_code=418, content_type="application/json", body='{"missing": true}')

def handler(event, context):
    return app.resolve(event, context)
"""

BATCH = """
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.parser import BaseModel
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel
from pydantic import Json

class Order(BaseModel):
    number: int

class OrderRecord(SqsRecordModel):
    body: Json[Order]

processor = BatchProcessor(event_type=EventType.SQS, model=OrderRecord)
logger = Logger()

def take(record: OrderRecord):
    if record.body.number == 13:
        raise ValueError("unlucky")
    logger.info("taken", extra={"number": record.body.number})

def handler(event, context):
    return process_partial_response(event=event, record_handler=take, processor=processor, context=context)
"""

IDEMPOTENT = """
import os
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer, IdempotencyConfig, idempotent, idempotent_function,
)

# A layer of its own for each: it keeps the configuration of the first that uses it.
store, greetings = (DynamoDBPersistenceLayer(table_name=os.environ["TABLE"]) for _ in range(2))
config = IdempotencyConfig(event_key_jmespath="id", payload_validation_jmespath="amount")
HANDLED = []

@idempotent_function(data_keyword_argument="name", persistence_store=greetings, config=IdempotencyConfig())
def greet(name):
    return f"hello {name}"

@idempotent(persistence_store=store, config=config)
def handler(event, context):
    HANDLED.append(event["id"])
    if event.get("fail") and HANDLED.count(event["id"]) == 1:
        raise RuntimeError("first")
    return {"request": context.aws_request_id, "greeting": greet(name=event["id"])}
"""

VALIDATED = """
from aws_lambda_powertools.utilities.parser import BaseModel, envelopes, event_parser
from aws_lambda_powertools.utilities.validation import validator
from aws_lambda_powertools.utilities.typing import LambdaContext

class Order(BaseModel):
    id: int
    item: str

@event_parser(model=Order, envelope=envelopes.EventBridgeEnvelope)
def parsed(event: Order, context: LambdaContext):
    return {"id": event.id + 1, "item": event.item}

INBOUND = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
OUTBOUND = {"type": "object", "required": ["greeting"]}

@validator(inbound_schema=INBOUND, outbound_schema=OUTBOUND, envelope="detail")
def validated(event, context):
    return {} if event["name"] == "nobody" else {"greeting": f"hello {event['name']}"}

def handler(event, context):
    return (parsed if event["use"] == "parser" else validated)(event["event"], context)
"""
