"""What the handbook tells to do with a state of the past, before it is served."""

import re
from pathlib import Path

import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from tests.support.handbook import commands
from tests.support.running import PASSWORD, VIEWER, running_server


def _statement() -> str:
    (command,) = [block for block in commands("PostgreSQL") if "UPDATE" in block]
    (statement,) = re.findall(r'--command="(.*)"', command)
    return str(statement)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_ending_all_sessions_leaves_no_refresh_token_of_use(
    database_url: str, tmp_path: Path
) -> None:
    async with running_server(database_url, tmp_path) as running:
        auth = auth_service_pb2_grpc.AuthServiceStub(running.channel)
        login = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
        token = (await auth.Login(login)).tokens.refresh_token
        engine = create_async_engine(database_url)
        async with engine.begin() as connection:
            ended = await connection.execute(text(_statement()))
        await engine.dispose()
        assert ended.rowcount == 1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await auth.RefreshToken(auth_service_pb2.RefreshTokenRequest(refresh_token=token))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert (await auth.Login(login)).tokens.refresh_token
