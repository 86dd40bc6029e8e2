"""Python's times as protobuf's well-known types."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime) -> Timestamp:
    """Turn an aware moment into a Timestamp."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(span: timedelta) -> Duration:
    """Turn a span into a Duration."""
    message = Duration()
    message.FromTimedelta(span)
    return message
