"""Login sessions as messages."""

from server.auth.domain import LoginSession
from server.core.principal import Principal
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.rpc.well_known import timestamp


def session_message(session: LoginSession, principal: Principal) -> resources.LoginSession:
    """Write a LoginSession as the caller sees it."""
    refreshed = session.last_refresh_time
    return resources.LoginSession(
        name=session.name,
        device_label=session.device_label,
        user_agent=session.user_agent,
        ip_address=session.ip_address,
        create_time=timestamp(session.create_time),
        last_refresh_time=None if refreshed is None else timestamp(refreshed),
        expire_time=timestamp(session.expire_time),
        current=session.session_id == principal.session_id,
        scopes=session.scopes,
    )
