"""Every method of the server, by its path, as the contracts describe it."""

from collections.abc import Mapping

from google.protobuf.descriptor import MethodDescriptor

from server.app import HEALTH, SERVICES
from server.rpc.policy import policy_of

METHODS: Mapping[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for service in (*SERVICES, HEALTH)
    for method in service.methods
}
PUBLIC = frozenset(
    path
    for path, method in METHODS.items()
    if method.containing_service is HEALTH or policy_of(method).public
)
