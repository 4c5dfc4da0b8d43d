"""Ctrl-C and SIGTERM while a sweep is trained: the segment is finished and saved first."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

log = logging.getLogger("vaejax")


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether SIGINT or SIGTERM has come; at the end it is raised for whoever had it before.

    So where nobody else handles them, Ctrl-C is a KeyboardInterrupt and SIGTERM ends the process, as ever, only later.
    A second one isn't deferred. Outside the main thread nothing can be deferred, and nothing is.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            restore()
            signal.raise_signal(number)
            return
        came.append(number)
        log.warning("stopping when this segment is trained and saved; another signal stops at once")

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        restore()
        if came:
            handler = before[signal.Signals(came[0])]
            if callable(handler):  # not raised anew, which whoever counts signals would take for a second one
                handler(came[0], None)
            else:
                signal.raise_signal(came[0])
