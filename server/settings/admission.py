"""How much is taken on at a time, and from one caller."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

Count = Annotated[int, Field(ge=1, le=100_000)]
Tokens = Annotated[float, Field(ge=0, le=1_000_000)]


class AdmissionSettings(BaseSettings):
    """Calls that run at a time, by class, and that may wait for a place.

    A rate of 0 tokens a second switches its bucket off.
    """

    max_running_reads: Count | None = None
    max_running_writes: Count = 16
    max_running_logins: Annotated[int, Field(ge=1, le=64)] = 2
    max_waiting_logins: Annotated[int, Field(ge=0, le=10_000)] = 16
    max_chats: Count = 200
    max_watches: Count = 200
    max_bulk_streams: Annotated[int, Field(ge=1, le=64)] = 4
    queue_percent: Annotated[int, Field(ge=0, le=100)] = 10
    read_rate: Tokens = 5000
    read_burst: Tokens = 20_000
    write_rate: Tokens = 50
    write_burst: Tokens = 200
    login_rate: Tokens = 20
    login_burst: Tokens = 200
    agent_rate: Tokens = 10
    agent_burst: Tokens = 200
    watch_rate: Tokens = 20
    watch_burst: Tokens = 500
    bulk_rate: Tokens = 10
    bulk_burst: Tokens = 400
