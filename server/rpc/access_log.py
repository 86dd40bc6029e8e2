"""One line per call, whatever its end."""

from time import perf_counter

import grpc
from structlog.typing import FilteringBoundLogger

from server.rpc.call import Call
from server.rpc.methods import Method

_QUIET = ("/grpc.health.v1.", "/grpc.reflection.")
_SERVER_FAULTS = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
)


class AccessLog:
    """Writes method, code, duration, caller and sizes; never metadata, bodies or e-mails.

    Health checks and reflection are written at debug level: probes would drown the rest.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def enter(self, call: Call, method: Method) -> None:
        """Nothing yet: the line is written at the end."""

    def leave(self, call: Call, method: Method) -> None:
        """Write the line."""
        fields: dict[str, object] = {
            "method": call.method,
            "code": call.code.name,
            "duration_ms": round((perf_counter() - call.started) * 1000, 3),
            "request_id": call.request_id,
            "peer": call.peer,
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
        }
        if call.reason:
            fields["reason"] = call.reason
        if call.caller is not None:
            fields["principal"] = call.caller.name
        if call.trace_id:
            fields["trace_id"] = call.trace_id
        if call.messages_in > 1 or call.messages_out > 1:
            fields |= {"messages_in": call.messages_in, "messages_out": call.messages_out}
        if call.method.startswith(_QUIET):
            self._log.debug("call", **fields)
        elif call.code in _SERVER_FAULTS:
            self._log.error("call", **fields)
        else:
            self._log.info("call", **fields)
