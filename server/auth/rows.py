"""Rows of sign-in: read into the domain's words, and made of them."""

from typing import Any

from sqlalchemy import Row

from server.auth.domain import Account, LoginSession, User
from server.auth.rotation import NewRefreshToken


def user_of(row: Row[Any]) -> User:
    """Read a user from the columns USER."""
    return User(
        user_id=row.user_id,
        email=row.email,
        display_name=row.display_name,
        roles=tuple(sorted(row.roles.split(","))) if row.roles else (),
        state=row.state,
        create_time=row.create_time,
        update_time=row.update_time,
        last_login_time=row.last_login_time,
        password_change_time=row.password_change_time,
        chosen_id=row.chosen_id,
        customer_id=row.customer_id,
        staff_id=row.staff_id,
        roles_change_time=row.roles_change_time,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
        revision=row.revision,
        has_password=bool(row.has_password),
    )


def session_of(row: Row[Any]) -> LoginSession:
    """Read a login session from the columns SESSION."""
    return LoginSession(
        session_id=row.session_id,
        user_id=row.user_id,
        device_label=row.device_label,
        user_agent=row.user_agent,
        ip_address=row.ip_address,
        create_time=row.session_create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
        last_refresh_time=row.last_refresh_time,
        scopes=tuple(row.scopes.split()),
    )


def user_values(account: Account) -> dict[str, Any]:
    """Return the row of a new user."""
    user = account.user
    return {
        "user_id": user.user_id,
        "email": user.email,
        "display_name": user.display_name,
        "password_hash": account.password_hash,
        "state": user.state,
        "create_time": user.create_time,
        "update_time": user.update_time,
        "password_change_time": user.password_change_time,
        "chosen_id": user.chosen_id,
        "customer_id": user.customer_id,
        "staff_id": user.staff_id,
    }


def session_values(session: LoginSession) -> dict[str, Any]:
    """Return the row of a new login session."""
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "device_label": session.device_label,
        "user_agent": session.user_agent,
        "ip_address": session.ip_address,
        "create_time": session.create_time,
        "expire_time": session.expire_time,
        "scopes": " ".join(session.scopes),
    }


def token_values(
    token: NewRefreshToken, session: LoginSession, parent_hash: bytes | None
) -> dict[str, Any]:
    """Return the row of a new refresh token, which ends no later than its session."""
    return {
        "token_hash": token.token_hash,
        "session_id": session.session_id,
        "parent_hash": parent_hash,
        "create_time": token.create_time,
        "expire_time": session.cap(token.expire_time),
    }
