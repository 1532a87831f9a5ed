"""The edge of the Lambda API: HTTP in, validated members to a handler, HTTP out.

Everything about paths, members, constraints and errors comes from botocore's service model; what the real service
does otherwise is named in :mod:`venturekit.service.api.quirks`.
"""
