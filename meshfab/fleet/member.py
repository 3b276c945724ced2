"""One process of a crew (meshfab/crew.py): calls come in on stdin, results go out on stdout, both pickled."""

from __future__ import annotations

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from meshfab.config import place

if TYPE_CHECKING:
    from typing import BinaryIO


def serve(threads: int) -> None:
    """Do what is asked until nobody asks any more."""
    place.become_worker()
    answers = os.fdopen(os.dup(1), "wb")
    # What anything here prints is not to come between the answers.
    os.dup2(2, 1)
    from meshfab.fleet import check_certs  # noqa: F401  # what is going to be called, while the first call is on its way

    lock, pool = Lock(), ThreadPoolExecutor(threads)
    while True:
        try:
            number, errand = pickle.load(sys.stdin.buffer)  # noqa: S301  # our parent's
        except (EOFError, OSError):
            # Nobody is there to wait for what still runs.
            os._exit(0)
        pool.submit(_answer, answers, lock, number, errand)


def _answer(answers: BinaryIO, lock: Lock, number: int, errand: bytes) -> None:
    try:
        call, args, kwargs = pickle.loads(errand)  # noqa: S301  # our parent's
        message = pickle.dumps((number, call(*args, **kwargs), None))
    except Exception as error:
        message = pickle.dumps((number, None, f"{type(error).__name__}: {error}"))
    with lock:
        answers.write(message)
        answers.flush()
