"""The options of the gRPC server: how connections are taken, kept and ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Sizes in bytes, spans of time, and counts per connection."""

    max_receive_message_bytes: int = _MEBIBYTE
    max_send_message_bytes: int = 4 * _MEBIBYTE
    max_metadata_bytes: int = 8192
    max_concurrent_streams: int = 100
    keepalive: timedelta = timedelta(seconds=30)
    keepalive_timeout: timedelta = timedelta(seconds=10)
    min_ping_interval: timedelta = timedelta(seconds=20)
    max_connection_idle: timedelta = timedelta(minutes=15)
    max_connection_age: timedelta = timedelta(minutes=30)
    max_connection_age_grace: timedelta = timedelta(seconds=310)
    handshake_timeout: timedelta = timedelta(seconds=10)
    share_port: bool = False
    """Whether other processes may listen on the same port."""

    def arguments(self) -> Sequence[tuple[str, int]]:
        """Return the channel arguments that the C core knows these options by."""
        return (
            ("grpc.max_receive_message_length", self.max_receive_message_bytes),
            ("grpc.max_send_message_length", self.max_send_message_bytes),
            # Soft and hard limit alike: between the two, metadata is refused at random.
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            # Two servers on one port by accident would share its calls.
            ("grpc.so_reuseport", int(self.share_port)),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive)),
            # grpc.keepalive_timeout_ms alone has no effect: a dead peer would be kept for a
            # minute.
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout)),
            (
                "grpc.http2.min_ping_interval_without_data_ms",
                _milliseconds(self.min_ping_interval),
            ),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_connection_idle_ms", _milliseconds(self.max_connection_idle)),
            ("grpc.max_connection_age_ms", _milliseconds(self.max_connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.max_connection_age_grace)),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake_timeout)),
            # Until a client has acknowledged them, the limits above are not all kept.
            ("grpc.http2.settings_timeout", _milliseconds(self.handshake_timeout)),
        )


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
