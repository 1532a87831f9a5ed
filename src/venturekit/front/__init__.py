"""The front process: function URLs over HTTP, as a client of the Lambda API that knows nothing else of the service."""
