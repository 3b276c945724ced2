"""Errors as one line and an exit status; no traceback reaches an operator."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from meshfab.errors import EditedError, MeshfabError, fault_line

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_line_errors(code: int = 1) -> Iterator[None]:
    """Turn errors, Ctrl-C, SIGTERM and SIGHUP into one line and an exit status. The signals unwind as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:  # signal's signature
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except MeshfabError as error:
        if isinstance(error, EditedError):
            print(error.diff, end="")
        # The error of a clean-up comes first; the error that led to it follows.
        first = None if error.__suppress_context__ else error.__context__
        raise Exit(f"{error}\n{first}" if isinstance(first, MeshfabError) else str(error), code=code) from None
    except Exception as error:
        if os.environ.get("MESHFAB_DEBUG"):
            raise  # within the handler that called us
        what = f"internal error: {type(error).__name__}: {fault_line(str(error))}"
        raise Exit(f"{what} -> MESHFAB_DEBUG=1 shows where; please report it", code=code) from None
    except KeyboardInterrupt:
        raise Exit("interrupted: cleaned up; run it again to complete what is half done", code=code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
