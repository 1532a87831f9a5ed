"""The reading part of the CloudWatch Logs API, over the logs that the service has captured."""
