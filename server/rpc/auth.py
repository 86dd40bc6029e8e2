"""Who calls, and may they: the two interceptors between a stranger and a method."""

from collections.abc import Awaitable, Callable

from server.core.clock import Clock
from server.core.errors import Unauthenticated
from server.core.principal import Principal
from server.rpc.call import Call
from server.rpc.methods import Method

Authenticate = Callable[[str], Principal | Awaitable[Principal]]
"""Turns a credential into its principal, or raises Unauthenticated.

Only where the answer is not known at once, as with an API key that has not been used for a
while, it is to be awaited.
"""

API_KEY_HEADER = "x-api-key"


class Authentication:
    """Reads `authorization: Bearer <access token or API key>`, or `x-api-key: <API key>`.

    A public method is answered without one; where one is sent it is not looked at, so that
    an expired token never stands in the way of signing in again.
    """

    def __init__(self, authenticate: Authenticate, is_api_key: Callable[[str], bool]) -> None:
        self._authenticate = authenticate
        self._is_api_key = is_api_key

    def enter(self, call: Call, method: Method) -> Awaitable[None] | None:
        """Set the call's caller; to be awaited where something is returned."""
        if method.policy.public:
            return None
        credential = self._credential(call)
        if not credential:
            return None
        answer = self._authenticate(credential)
        if isinstance(answer, Principal):
            call.caller = answer
            return None
        return _set_caller(call, answer)

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""

    def _credential(self, call: Call) -> str:
        header, key = call.text("authorization"), call.text(API_KEY_HEADER)
        if header and key:
            raise Unauthenticated("send one credential: 'authorization' or 'x-api-key', not both")
        if key:
            if not self._is_api_key(key):
                raise Unauthenticated(
                    "'x-api-key' takes an API key; send tokens as 'authorization'"
                )
            return key
        if not header:
            return ""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send the access token as 'authorization: Bearer ...'")
        return token


async def _set_caller(call: Call, answer: Awaitable[Principal]) -> None:
    call.caller = await answer


class Authorization:
    """Holds the caller against the method's rule. Comes after Authentication.

    Whether a resource is the caller's own is said by the request, so that is left to the boundary.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def enter(self, call: Call, method: Method) -> None:
        """Raise unless the rule is met."""
        method.policy.authorize(call.caller, self._clock())

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""
