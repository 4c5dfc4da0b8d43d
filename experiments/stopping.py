"""What a script does when it is told to stop: the first SIGINT or SIGTERM unwinds it, a second one ends it at once.

While `vaejax.fit` trains, the first is its own affair: it finishes the segment and saves before it passes it on.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], Any] | int | None


class Terminated(BaseException):
    """SIGTERM has come; as KeyboardInterrupt it is no Exception, so that nothing takes it for a fault."""


CODES: dict[type[BaseException], int] = {
    KeyboardInterrupt: 130,
    Terminated: 143,
}  # 128 + the signal


def listen() -> dict[signal.Signals, Handler]:
    """Listens from now on; gives what listened before, for `restore`.

    Who starts a script with a signal ignored, as `nohup` and scripts that run it in the background do, wants it
    ignored. Only the main thread can listen.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _first)
    return before


def restore(before: dict[signal.Signals, Handler]) -> None:
    """Lets those listen that did before."""
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _first(number: int, _: object) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _first:
            signal.signal(each, _second)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _second(number: int, _: object) -> None:
    os.write(2, b"\nstopped at once\n")
    os._exit(128 + number)
