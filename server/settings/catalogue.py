"""How long changes of the catalogue are kept, and how many of them in memory."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings


class CatalogueSettings(BaseSettings):
    """The log of changes, and what watches are told from."""

    change_log_days: Annotated[int, Field(ge=1, le=3650)] = 7
    watch_buffer: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
