"""The audit trail: who did what to whom, from where, and how it ended (ASVS 16.2.1, 16.3)."""

import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import Row, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from server.app import SERVICES
from server.audit import commands
from server.audit.kept import MAX_KEPT_BYTES, kept_of
from server.audit.models import AuditEvent
from server.audit.trail import AuditRows, Chosen
from server.core.audit import AuditRecord
from server.core.clock import utc_now
from server.core.resource_names import canonical
from server.database.engine import Database, WriteSession
from server.generated.interview.agent.v1 import agent_service_pb2
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.generated.interview.catalogue.v1 import film_bulk_pb2, film_changes_pb2, taxonomy_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as catalogue
from server.rpc.policy import AuditLevel, policy_of
from tests.support.caller import Caller
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running

NEW_PASSWORD = "nine green lanterns by the river"


async def _rows(running: Running) -> list[Row[Any]]:
    statement = select(AuditEvent.__table__).order_by(AuditEvent.event_id)
    return list(await running.app.database.read.all(statement))


async def _newest(running: Running) -> Row[Any]:
    return (await _rows(running))[-1]


async def _user(caller: Caller, **fields: Any) -> resources.User:
    user: resources.User = await caller.CreateUser(
        users.CreateUserRequest(
            user=resources.User(email=f"{uuid4().hex}@example.com"),
            initial_password=PASSWORD,
            **fields,
        )
    )
    return user


async def _each_method(running: Running) -> AsyncIterator[tuple[str, str]]:
    """Call every audited method so that it changes something; yield its name and its target."""
    admin = await Caller.signed_in(running, ADMIN)
    user = await _user(admin)
    yield "CreateUser", user.name
    named = users.GrantRoleRequest(name=user.name, role="roles/viewer")
    yield "GrantRole", (await admin.GrantRole(named)).name
    named_again = users.RevokeRoleRequest(name=user.name, role="roles/viewer")
    yield "RevokeRole", (await admin.RevokeRole(named_again)).name
    change = resources.User(name=user.name, display_name="Ada")
    mask = FieldMask(paths=["display_name"])
    await admin.UpdateUser(users.UpdateUserRequest(user=change, update_mask=mask))
    yield "UpdateUser", user.name
    key = resources.ApiKey(display_name="nightly")
    made = await admin.CreateApiKey(users.CreateApiKeyRequest(parent=user.name, api_key=key))
    yield "CreateApiKey", made.api_key.name
    await admin.DeleteApiKey(users.DeleteApiKeyRequest(name=made.api_key.name))
    yield "DeleteApiKey", made.api_key.name
    login = await Caller(running).Login(auth.LoginRequest(email=user.email, password=PASSWORD))
    yield "Login", login.login_session
    token = login.tokens.refresh_token
    renewed = await Caller(running).RefreshToken(auth.RefreshTokenRequest(refresh_token=token))
    yield "RefreshToken", ""
    own = Caller(running, (("authorization", f"Bearer {renewed.tokens.access_token}"),))
    await own.ChangePassword(
        auth.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW_PASSWORD)
    )
    yield "ChangePassword", ""
    await own.Logout(auth.LogoutRequest())
    yield "Logout", ""
    again = auth.LoginRequest(email=user.email, password=NEW_PASSWORD)
    session = (await Caller(running).Login(again)).login_session
    await admin.RevokeLoginSession(auth.RevokeLoginSessionRequest(name=session))
    yield "RevokeLoginSession", session
    for name in ("SuspendUser", "ReactivateUser", "DeleteUser", "UndeleteUser"):
        await getattr(admin, name)(getattr(users, f"{name}Request")(name=user.name))
        yield name, user.name
    async for method, name in _each_change_of_the_catalogue(admin):
        yield method, name
    await running.app.agents_ready()
    await admin.Ask(agent_service_pb2.AskRequest(question="Dinosaurs?"))
    yield "Ask", ""


async def _each_change_of_the_catalogue(admin: Caller) -> AsyncIterator[tuple[str, str]]:
    category = await admin.CreateCategory(
        taxonomy_pb2.CreateCategoryRequest(category=catalogue.Category(display_name="Audited"))
    )
    yield "CreateCategory", category.name
    actor = await admin.CreateActor(
        taxonomy_pb2.CreateActorRequest(actor=catalogue.Actor(given_name="A", family_name="B"))
    )
    yield "CreateActor", actor.name
    new = catalogue.Film(title="Audited", language="languages/1", categories=[category.name])
    film = await admin.CreateFilm(film_changes_pb2.CreateFilmRequest(film=new))
    yield "CreateFilm", film.name
    film.title = "Audited again"
    await admin.UpdateFilm(film_changes_pb2.UpdateFilmRequest(film=film))
    yield "UpdateFilm", film.name
    for method in ("DeleteFilm", "UndeleteFilm"):
        request = getattr(film_changes_pb2, f"{method}Request")(name=film.name)
        await getattr(admin, method)(request)
        yield method, film.name
    category.display_name, actor.given_name = "Other", "Other"
    await admin.UpdateCategory(taxonomy_pb2.UpdateCategoryRequest(category=category))
    yield "UpdateCategory", category.name
    await admin.UpdateActor(taxonomy_pb2.UpdateActorRequest(actor=actor))
    yield "UpdateActor", actor.name
    forced = taxonomy_pb2.DeleteCategoryRequest(name=category.name, force=True)
    await admin.DeleteCategory(forced)
    yield "DeleteCategory", category.name
    await admin.DeleteActor(taxonomy_pb2.DeleteActorRequest(name=actor.name))
    yield "DeleteActor", actor.name
    config = film_bulk_pb2.ImportFilmsConfig(
        import_id=str(uuid4()),
        mode=film_bulk_pb2.IMPORT_MODE_PER_BATCH,
        conflict_policy=film_bulk_pb2.IMPORT_CONFLICT_POLICY_FAIL,
    )
    batch = film_bulk_pb2.ImportFilmsBatch(batch_number=1, films=[new])
    batch.films[0].ClearField("categories")
    frames = [
        film_bulk_pb2.ImportFilmsRequest(config=config),
        film_bulk_pb2.ImportFilmsRequest(batch=batch),
    ]
    answer = await admin.ImportFilms(frames)
    yield "ImportFilms", answer.film_import.name


async def test_each_change_has_its_record_of_who_did_it_to_whom(running: Running) -> None:
    """ASVS 16.2.1, 16.3.3: when, where, who and what, for every change of security."""
    seen = set()
    async for method, target in _each_method(running):
        row = await _newest(running)
        assert row.method.rpartition("/")[2] == method
        assert (row.outcome, row.peer_address) == ("OK", "127.0.0.1")
        assert row.principal.startswith("users/"), method
        if target:
            assert row.target == canonical(target), method
        line = running.access_lines()[-1]
        assert row.request_id == line["request_id"], method
        seen.add(method)
    audited = {
        method.name
        for service in SERVICES
        for method in service.methods
        if policy_of(method).audit is not AuditLevel.NONE and not method.server_streaming
    }
    assert seen == audited


async def test_each_record_has_its_line(running: Running) -> None:
    """ASVS 16.2.1: the log tells of the same call, by its request id."""
    async for method, _ in _each_method(running):
        line = next(
            line.kwargs for line in reversed(running.lines) if line.kwargs["event"] == "audit"
        )
        row = await _newest(running)
        assert line["method"].endswith(f"/{method}")
        assert (line["request_id"], line["outcome"]) == (row.request_id, row.outcome)
        assert line.get("principal", "") in {row.principal, ""}


async def test_what_is_refused_is_recorded_with_its_reason(running: Running) -> None:
    """ASVS 16.3.1, 16.3.2: failed sign-ins and refused authorizations."""
    wrong = auth.LoginRequest(email=VIEWER, password="not the password at all")
    with pytest.raises(grpc.aio.AioRpcError):
        await Caller(running).Login(wrong)
    failed = await _newest(running)
    assert (failed.outcome, failed.principal) == ("LOGIN_FAILED", "")
    viewer = await Caller.signed_in(running)
    principal = await viewer.GetCurrentPrincipal(auth.GetCurrentPrincipalRequest())
    assert failed.target == principal.user.name
    with pytest.raises(grpc.aio.AioRpcError):
        await viewer.GrantRole(users.GrantRoleRequest(name=principal.user.name, role="roles/admin"))
    denied = await _newest(running)
    assert (denied.outcome, denied.principal) == ("PERMISSION_DENIED", principal.user.name)
    assert denied.credential == principal.login_session


async def test_strangers_do_not_fill_the_table(running: Running) -> None:
    before = len(await _rows(running))
    for metadata in ((), (("authorization", "Bearer nonsense"),)):
        with pytest.raises(grpc.aio.AioRpcError):
            await Caller(running, metadata).DeleteUser(users.DeleteUserRequest(name="users/ada"))
    for garbage in (auth.LoginRequest(email="nobody"), auth.RefreshTokenRequest()):
        with pytest.raises(grpc.aio.AioRpcError):
            await _method_of(Caller(running), garbage)(garbage)
    unknown = auth.RefreshTokenRequest(refresh_token="rt_" + "x" * 43)
    with pytest.raises(grpc.aio.AioRpcError):
        await Caller(running).RefreshToken(unknown)
    assert len(await _rows(running)) == before


def _method_of(caller: Caller, request: Any) -> Any:
    return getattr(caller, request.DESCRIPTOR.name.removesuffix("Request"))


async def test_what_is_no_name_is_not_kept(running: Running) -> None:
    """ASVS 16.2.5: an address or a password in the wrong field is not kept."""
    admin = await Caller.signed_in(running, ADMIN)
    for wrong in ("users/bob@example.com", "my password is hunter2", "bob@example.com"):
        with pytest.raises(grpc.aio.AioRpcError):
            await admin.SuspendUser(users.SuspendUserRequest(name=wrong))
        row = await _newest(running)
        assert (row.outcome, row.target, row.request) == ("VALIDATION_FAILED", "", None)
        assert wrong not in repr(running.lines)


async def test_a_change_and_its_record_are_one(running: Running) -> None:
    """ASVS 2.3.3: neither is there without the other, since both are of one transaction."""
    admin = await Caller.signed_in(running, ADMIN)
    user = await _user(admin)

    async def work(write: WriteSession) -> None:
        await write.execute(text("ALTER TABLE audit_event RENAME TO elsewhere"))

    await running.app.database.transaction(work)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await admin.SuspendUser(users.SuspendUserRequest(name=user.name))
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    found = await admin.GetUser(users.GetUserRequest(name=user.name))
    assert found.state == resources.USER_STATE_ACTIVE
    told = [line.kwargs["event"] for line in running.lines]
    assert "audit record not stored" in told


async def test_no_record_is_changed_or_removed(running: Running) -> None:
    """ASVS 16.4.2: logs are protected from changes."""
    await running.sign_in()
    before = await _rows(running)
    for statement in (
        update(AuditEvent).values(outcome="nothing happened"),
        delete(AuditEvent),
    ):

        async def work(write: WriteSession, statement: Any = statement) -> None:
            await write.execute(statement)

        with pytest.raises(DBAPIError, match="append-only"):
            await running.app.database.transaction(work)
    assert await _rows(running) == before


async def test_requests_are_kept_without_their_secrets(running: Running) -> None:
    """ASVS 16.2.5: no credentials and no personal data in logs."""
    admin = await Caller.signed_in(running, ADMIN)
    user = await _user(admin, user_id="ada", roles=["roles/viewer"])
    row = await _newest(running)
    assert row.target == canonical(user.name) == f"users/{UUID(row.target.rpartition('/')[2])}"
    assert row.request == {"user": {}, "user_id": "ada", "roles": ["roles/viewer"]}
    login = auth.LoginRequest(email=user.email, password=PASSWORD)
    await Caller(running).Login(login)
    assert (await _newest(running)).request is None
    everything = repr(await _rows(running)) + repr(running.lines)
    assert PASSWORD not in everything
    assert user.email not in everything


def test_no_secret_of_the_contract_is_kept() -> None:
    """ASVS 16.2.5: of every text of every request, what is marked as secret is gone."""
    for service in SERVICES:
        for method in service.methods:
            request = GetMessageClass(method.input_type)()
            secrets = _fill(request, method.name)
            kept = json.dumps(kept_of(request))
            assert not [secret for secret in secrets if secret in kept], method.full_name


def _fill(message: Any, path: str, *, secret: bool = False) -> list[str]:
    """Set each text to its path; return those that are secrets."""
    found = []
    for field in message.DESCRIPTOR.fields:
        hidden = secret or field.GetOptions().debug_redact
        value = f"<{path}.{field.name}>"
        if (
            field.type == FieldDescriptor.TYPE_MESSAGE
            and field.message_type.file.package.startswith("interview.")
        ):
            part = getattr(message, field.name)
            found += _fill(part.add() if field.is_repeated else part, value, secret=hidden)
        elif field.type == FieldDescriptor.TYPE_STRING and field.containing_oneof is None:
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
            found += [value] if hidden else []
    return found


def test_of_a_huge_request_only_its_size_is_kept() -> None:
    request = users.SuspendUserRequest(name="users/ada", reason="x" * MAX_KEPT_BYTES)
    assert kept_of(request) == {"omitted_bytes": request.ByteSize()}


async def test_an_operator_reads_what_is_asked_for(database: Database) -> None:
    rows = AuditRows(database, utc_now)
    ada, bob = (canonical(f"users/{name}") for name in ("ada", "bob"))
    for method, principal, target in (
        ("/s/CreateUser", bob, ada),
        ("/s/DeleteApiKey", ada, f"{ada}/apiKeys/1"),
        ("/s/CreateUser", bob, bob),
    ):
        record = AuditRecord(method, "r-1", principal=principal, target=target)
        await rows.store(record)
        assert record.stored
    day = utc_now() - timedelta(days=1)

    async def told(chosen: Chosen) -> list[str]:
        out = io.StringIO()
        assert await commands.show(rows.read(chosen), {}, as_json=True, out=out) == 0
        return [json.loads(line)["target"] for line in out.getvalue().splitlines()]

    assert await told(Chosen(day)) == [ada, f"{ada}/apiKeys/1", bob]
    assert await told(Chosen(day, target=ada)) == [ada, f"{ada}/apiKeys/1"]
    assert await told(Chosen(day, principal=bob)) == [ada, bob]
    assert await told(Chosen(day, method="DeleteApiKey")) == [f"{ada}/apiKeys/1"]
    assert await told(Chosen(utc_now() + timedelta(hours=1))) == []
    out = io.StringIO()
    records = rows.read(Chosen(day, principal=ada))
    await commands.show(records, {ada: "users/ada"}, as_json=False, out=out)
    header, line = out.getvalue().splitlines()
    assert header.split()[:5] == ["TIME", "OUTCOME", "METHOD", "BY", "ABOUT"]
    assert line.split("  ")[1:5] == ["OK", "DeleteApiKey", "users/ada", "users/ada/apiKeys/1"]


async def test_a_long_trail_is_read_whole(database: Database) -> None:
    rows = AuditRows(database, utc_now)

    async def work(write: WriteSession) -> None:
        for number in range(1203):
            await rows.add(write, AuditRecord("/s/M", f"r-{number}"))

    await database.transaction(work)
    chosen = Chosen(utc_now() - timedelta(hours=1))
    assert [row.request_id async for row in rows.read(chosen)] == [f"r-{n}" for n in range(1203)]


@pytest.mark.parametrize(
    ("text_", "back"), [("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_span_is_counted_back_from_now(text_: str, back: int) -> None:
    now = utc_now()
    assert commands.moment(text_, now) == now - timedelta(seconds=back)
    assert commands.moment(now.isoformat(), now) == now
    with pytest.raises(ValueError, match="--since: must be"):
        commands.moment("yesterday", now)
