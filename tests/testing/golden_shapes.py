"""The shapes of the events of AWS: which keys there are and of what type, from the pages that the builders name.

``"map"`` is an object whose keys are somebody's own. What ends in ``?`` may be null.
"""

from __future__ import annotations

from typing import Any, Final

HTTP: Final = {"method": "str", "path": "str", "protocol": "str", "sourceIp": "str", "userAgent": "str"}
V2_CONTEXT: Final = {
    **dict.fromkeys(("accountId", "apiId", "domainName", "domainPrefix", "requestId", "routeKey", "stage"), "str"),
    "http": HTTP,
    "time": "str",
    "timeEpoch": "int",
}
V2: Final = {
    "version": "str",
    "routeKey": "str",
    "rawPath": "str",
    "rawQueryString": "str",
    "headers": "map",
    "requestContext": V2_CONTEXT,
    "isBase64Encoded": "bool",
}
V2_FULL: Final = {
    **V2,
    "cookies": ["str"],
    "queryStringParameters": "map",
    "pathParameters": "map",
    "stageVariables": "map",
    "body": "str",
    "requestContext": {**V2_CONTEXT, "authorizer": {"jwt": {"claims": "map", "scopes": ["str"]}}},
}
URL_FULL: Final = {
    **V2,
    "cookies": ["str"],
    "queryStringParameters": "map",
    "body": "str",
    "requestContext": {**V2_CONTEXT, "authentication": "null", "authorizer": {"iam": "map"}},
}
V1: Final = {
    **dict.fromkeys(("resource", "path", "httpMethod"), "str"),
    **dict.fromkeys(("headers", "multiValueHeaders"), "map"),
    **dict.fromkeys(("queryStringParameters", "multiValueQueryStringParameters", "stageVariables"), "null"),
    "pathParameters": "map",
    "requestContext": {
        **dict.fromkeys(("resourceId", "resourcePath", "httpMethod", "extendedRequestId", "requestTime"), "str"),
        **dict.fromkeys(("path", "accountId", "protocol", "stage", "domainPrefix", "requestId"), "str"),
        **dict.fromkeys(("domainName", "apiId"), "str"),
        "requestTimeEpoch": "int",
        "identity": {
            **dict.fromkeys(("cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "user"), "null"),
            **dict.fromkeys(("principalOrgId", "accessKey", "cognitoAuthenticationType", "userArn"), "null"),
            "cognitoAuthenticationProvider": "null",
            "sourceIp": "str",
            "userAgent": "str",
        },
    },
    "body": "null",
    "isBase64Encoded": "bool",
}
ALB: Final = {
    "requestContext": {"elb": {"targetGroupArn": "str"}},
    "httpMethod": "str",
    "path": "str",
    "queryStringParameters": "map",
    "headers": "map",
    "body": "str",
    "isBase64Encoded": "bool",
}
ALB_MULTI_VALUE: Final = {
    **{key: value for key, value in ALB.items() if key not in ("queryStringParameters", "headers")},
    "multiValueQueryStringParameters": "map",
    "multiValueHeaders": "map",
}
SQS: Final = {
    "Records": [
        {
            **dict.fromkeys(("messageId", "receiptHandle", "body", "md5OfBody", "eventSource"), "str"),
            **dict.fromkeys(("eventSourceARN", "awsRegion"), "str"),
            "attributes": dict.fromkeys(
                ("ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"), "str"
            ),
            "messageAttributes": "map",
        }
    ]
}
SNS: Final = {
    "Records": [
        {
            **dict.fromkeys(("EventSource", "EventVersion", "EventSubscriptionArn"), "str"),
            "Sns": {
                **dict.fromkeys(("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp"), "str"),
                **dict.fromkeys(("SignatureVersion", "Signature", "SigningCertUrl", "UnsubscribeUrl"), "str"),
                "MessageAttributes": "map",
            },
        }
    ]
}
S3: Final = {
    "Records": [
        {
            **dict.fromkeys(("eventVersion", "eventSource", "awsRegion", "eventTime", "eventName"), "str"),
            "userIdentity": {"principalId": "str"},
            "requestParameters": {"sourceIPAddress": "str"},
            "responseElements": {"x-amz-request-id": "str", "x-amz-id-2": "str"},
            "s3": {
                "s3SchemaVersion": "str",
                "configurationId": "str",
                "bucket": {"name": "str", "ownerIdentity": {"principalId": "str"}, "arn": "str"},
                "object": {"key": "str", "size": "int", "eTag": "str", "versionId": "str", "sequencer": "str"},
            },
        }
    ]
}
EVENTBRIDGE: Final = {
    **dict.fromkeys(("version", "id", "detail-type", "source", "account", "time", "region"), "str"),
    "resources": ["str"],
    "detail": "map",
}
KINESIS: Final = {
    "Records": [
        {
            "kinesis": {
                **dict.fromkeys(("kinesisSchemaVersion", "partitionKey", "sequenceNumber", "data"), "str"),
                "approximateArrivalTimestamp": "float",
            },
            **dict.fromkeys(("eventSource", "eventVersion", "eventID", "eventName", "invokeIdentityArn"), "str"),
            **dict.fromkeys(("awsRegion", "eventSourceARN"), "str"),
        }
    ]
}
DYNAMODB: Final = {
    "Records": [
        {
            **dict.fromkeys(
                ("eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "eventSourceARN"), "str"
            ),
            "dynamodb": {
                "ApproximateCreationDateTime": "int",
                **dict.fromkeys(("Keys", "NewImage", "OldImage"), "map"),
                "SequenceNumber": "str",
                "SizeBytes": "int",
                "StreamViewType": "str",
            },
        }
    ]
}
KAFKA_RECORD: Final = {
    "topic": "str",
    "partition": "int",
    "offset": "int",
    "timestamp": "int",
    "timestampType": "str",
    "key": "str",
    "value": "str",
    "headers": ["map"],
}
MSK: Final = {
    "eventSource": "str",
    "eventSourceArn": "str",
    "bootstrapServers": "str",
    "records": {"topic-0": [KAFKA_RECORD]},
}
KAFKA: Final = {key: value for key, value in MSK.items() if key != "eventSourceArn"}
ACTIVEMQ: Final = {
    "eventSource": "str",
    "eventSourceArn": "str",
    "messages": [
        {
            **dict.fromkeys(("messageID", "messageType", "correlationID", "replyTo", "type", "data"), "str"),
            **dict.fromkeys(("timestamp", "deliveryMode", "expiration", "priority"), "int"),
            **dict.fromkeys(("brokerInTime", "brokerOutTime"), "int"),
            "destination": {"physicalName": "str"},
            "redelivered": "bool",
            "properties": "map",
        }
    ],
}
RABBITMQ: Final = {
    "eventSource": "str",
    "eventSourceArn": "str",
    "rmqMessagesByQueue": {
        "queue::/": [
            {
                "basicProperties": {
                    "contentType": "str",
                    "headers": "map",
                    **dict.fromkeys(("deliveryMode", "priority", "bodySize"), "int"),
                    **dict.fromkeys(("contentEncoding", "correlationId", "replyTo", "expiration"), "null"),
                    **dict.fromkeys(("messageId", "timestamp", "type", "userId", "appId", "clusterId"), "null"),
                },
                "redelivered": "bool",
                "data": "str",
            }
        ]
    },
}
COGNITO: Final = {
    **dict.fromkeys(("version", "region", "userPoolId", "userName", "triggerSource"), "str"),
    "callerContext": {"awsSdkVersion": "str", "clientId": "str"},
    "request": "map",
    "response": "map",
}
WEBSOCKET_CONTEXT: Final = {
    **dict.fromkeys(("routeKey", "eventType", "extendedRequestId", "requestTime", "messageDirection", "stage"), "str"),
    **dict.fromkeys(("requestId", "domainName", "connectionId", "apiId"), "str"),
    **dict.fromkeys(("connectedAt", "requestTimeEpoch"), "int"),
    "identity": {"sourceIp": "str", "userAgent": "str"},
}
CONNECT: Final = {
    **dict.fromkeys(("headers", "multiValueHeaders"), "map"),
    **dict.fromkeys(("queryStringParameters", "multiValueQueryStringParameters"), "map"),
    "requestContext": WEBSOCKET_CONTEXT,
    "isBase64Encoded": "bool",
}
MESSAGE: Final = {
    "requestContext": {**WEBSOCKET_CONTEXT, "messageId": "str"},
    "body": "str",
    "isBase64Encoded": "bool",
}
DISCONNECT: Final = {
    **dict.fromkeys(("headers", "multiValueHeaders"), "map"),
    "requestContext": {**WEBSOCKET_CONTEXT, "disconnectStatusCode": "int", "disconnectReason": "str"},
    "isBase64Encoded": "bool",
}

NAMES: Final = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None), "map": dict}


def misfits(shape: Any, value: Any, where: str = "event") -> list[str]:
    """One sentence for each difference between a value and a shape."""
    if isinstance(shape, str):
        return [] if type(value) is NAMES[shape] else [f"{where} is {value!r}, not {shape}"]
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return [f"{where} is no list with something in it"]
        return [found for index, item in enumerate(value) for found in misfits(shape[0], item, f"{where}[{index}]")]
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    found = [f"{where} has no {key}" for key in shape.keys() - value.keys()]
    found += [f"{where} has {key}, which AWS's has not" for key in value.keys() - shape.keys()]
    return found + [m for key in shape.keys() & value.keys() for m in misfits(shape[key], value[key], f"{where}.{key}")]
