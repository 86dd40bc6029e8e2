"""The client: one connection, one login session, every call."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc
from grpc import aio

from .account import Account
from .agent import AgentCalls
from .auth import ApiKeySource, Authenticator, Clock, MemoryTokenStore, TokenStore, utc_now
from .calls import Calls, Metadata
from .catalogue import Catalogue
from .channel import open_channel
from .generated.interview.auth.v1 import Principal, User
from .users import Users


class InterviewClient:
    """A client of Interview API.

        async with InterviewClient("127.0.0.1:50051") as client:
            await client.sign_in("viewer@example.com", password)
            film = await client.catalogue.get_film(17)

    Make it inside a running event loop; use it from that loop only. Tokens are renewed before
    they end. Calls that may be repeated are repeated when the server is not available; every
    call has a deadline, `timeout` in seconds changes it. Failures raise InterviewError.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        tls: bool | grpc.ChannelCredentials = False,
        token_store: TokenStore | None = None,
        api_key: str | None = None,
        health_service: str | None = None,
        channel_options: Mapping[str, str | int] | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Prepare a connection; the first call makes it.

        `tls`: True trusts the certificate authorities that come with gRPC, credentials say whom
        to trust (`Tls` makes them of files); False sends everything in the clear, tokens too.
        `token_store` keeps the tokens beyond this client. With an `api_key` no sign-in is needed:
        every call carries it instead of a token. `health_service`: with several
        servers behind `target`, leave out those whose health service of this name ("" is the
        whole server) does not serve.
        """
        credentials = grpc.ssl_channel_credentials() if tls is True else (tls or None)
        self.channel: aio.Channel = open_channel(
            target,
            credentials=credentials,
            health_service=health_service,
            options=channel_options,
        )
        self._by_key = api_key is not None
        self._auth = Authenticator(self.channel, token_store or MemoryTokenStore(), clock)
        source = self._auth.token if api_key is None else ApiKeySource(api_key)
        self._calls = Calls(self.channel, source)
        agent = AgentCalls(self._calls)
        self.catalogue = Catalogue(self._calls)
        """Films, categories, actors, languages."""
        self.account = Account(self._calls)
        """The caller's own rights, password and login sessions."""
        self.users = Users(self._calls)
        """Users, roles and API keys."""
        self.chat = agent.chat
        """Open a chat: `async with client.chat() as chat`."""
        self.run_turn = agent.run_turn
        """Run one turn and iterate over its events."""
        self.ask = agent.ask
        """Ask and get the whole answer."""
        self.list_agents = agent.list_agents
        """Iterate over the agents."""

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection; the login session lives on."""
        await self.close()

    async def close(self) -> None:
        """Close the connection and end the calls that still run."""
        await self._auth.close()
        await self.channel.close()

    async def sign_in(
        self, email: str, password: str, device_label: str = "", *, scopes: Sequence[str] = ()
    ) -> User:
        """Open a login session. Raises LoginFailed, LoginThrottled.

        `scopes` are the permissions to which the session is limited, none: all of the user's.
        A client with an `api_key` cannot sign in: RuntimeError.
        """
        if self._by_key:
            raise RuntimeError(
                "this client calls with an API key; make one without `api_key` to sign in"
            )
        return await self._auth.sign_in(email, password, device_label, scopes=scopes)

    async def sign_out(self, *, all_sessions: bool = False) -> None:
        """End the login session, or all of the user's; the tokens are forgotten in any case."""
        await self._auth.sign_out(all_sessions=all_sessions)

    async def get_current_principal(self) -> Principal:
        """Return who the caller is and what it may do."""
        return await self.account.current_principal()

    async def metadata(self) -> Metadata:
        """Return the metadata that a call needs now, for stubs of your own on `channel`."""
        return await self._calls.metadata()
