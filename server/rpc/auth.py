"""Who calls, and may they: the two interceptors between a stranger and a method."""

from collections.abc import Callable

from server.core.errors import Unauthenticated
from server.core.principal import Principal
from server.rpc.call import Call
from server.rpc.methods import Method

Authenticate = Callable[[str], Principal]
"""Turns an access token into its principal, or raises Unauthenticated. Must not wait."""


class Authentication:
    """Reads `authorization: Bearer <access token>`.

    A public method is answered without one; where one is sent it is not looked at, so that
    an expired token never stands in the way of signing in again.
    """

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    def enter(self, call: Call, method: Method) -> None:
        """Set the call's caller."""
        if method.policy.public:
            return
        header = call.text("authorization")
        if not header:
            return
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send the access token as 'authorization: Bearer ...'")
        call.caller = self._authenticate(token)

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""


class Authorization:
    """Holds the caller against the method's rule. Comes after Authentication."""

    def enter(self, call: Call, method: Method) -> None:
        """Raise unless the rule is met."""
        method.policy.authorize(call.caller)

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""
