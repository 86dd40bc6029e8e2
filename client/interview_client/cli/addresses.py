"""Users that are named by their e-mail address."""

from interview_client.client import InterviewClient
from interview_client.names import user_name

from .failures import Failure
from .filters import quoted


async def user_called(client: InterviewClient, text: str) -> str:
    """Return the resource name of a user: "users/ada", "ada" or the e-mail address is given.

    One's own address needs no right to see users. Raises Failure where nobody has the address.
    """
    if "@" not in text or "/" in text:
        return user_name(text)
    own = (await client.get_current_principal()).user
    if own is not None and own.email.casefold() == text.casefold():
        return own.name
    found = client.users.list_users(filter=f"email = {quoted(text)}", show_deleted=True)
    async for user in found:
        return user.name
    raise Failure(f"nobody has the address {text}; see: interview users list")
