"""Every kind of credential, told apart by its form."""

from collections.abc import Awaitable, Callable

from server.auth.api_key_principals import ApiKeyPrincipals
from server.auth.api_key_secrets import is_api_key
from server.core.principal import Principal


class Credentials:
    """Turns an access token or an API key into its principal."""

    def __init__(
        self, access_token: Callable[[str], Principal], api_keys: ApiKeyPrincipals
    ) -> None:
        self._access_token = access_token
        self._api_keys = api_keys

    def authenticate(self, credential: str) -> Principal | Awaitable[Principal]:
        """Return whose credential it is; to be awaited where that is not known at once.

        Raises:
            Unauthenticated: it is not accepted; see `AccessTokens.verify` and
                `ApiKeyPrincipals.authenticate`.
            DomainError: RATE_LIMITED, too many unknown API keys come at once.
        """
        if is_api_key(credential):
            return self._api_keys.authenticate(credential)
        return self._access_token(credential)
