"""Imports that take seconds: in a thread that the end of the process does not wait for."""

import asyncio
import threading
from concurrent.futures import Future
from importlib import import_module
from types import ModuleType
from typing import Final

_PREFIX: Final = "import-"


async def imported(name: str) -> ModuleType:
    """Import a module in a thread that the end of the process does not wait for."""
    future: Future[ModuleType] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result(import_module(name))
        except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=work, name=f"{_PREFIX}{name}", daemon=True).start()
    return await asyncio.wrap_future(future)


def importing() -> bool:
    """Tell whether such a thread still runs."""
    return any(thread.name.startswith(_PREFIX) for thread in threading.enumerate())
