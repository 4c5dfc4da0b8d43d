"""What a script does when it is told to stop: the first SIGINT or SIGTERM unwinds it, a second one ends it at once.

While `vaejax.fit` trains, the first is its own affair: it finishes the segment and saves before it passes it on.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 2.0  # seconds
_watching: list[socket.socket] = []  # whose closing ends the watch
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
    _watch()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _first)
    return before


def restore(before: dict[signal.Signals, Handler]) -> None:
    """Lets those listen that did before."""
    while _watching:
        signal.set_wakeup_fd(-1)
        _watching.pop().close()
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _watch() -> None:
    """A thread that sees signals also while the main one, which alone runs handlers, waits for compiled code.

    A second signal that isn't dealt with within `PATIENCE` ends the process: what was saved is whole at any moment.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    other = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if other != -1:  # somebody watches already
        signal.set_wakeup_fd(other)
        return
    _watching.append(writer)

    def watch() -> None:
        seen = 0
        while number := reader.recv(1):
            seen += number[0] in SIGNALS
            if seen >= 2:
                time.sleep(PATIENCE)
                if writer in _watching:  # the script hasn't ended meanwhile
                    _second(number[0], None)

    threading.Thread(target=watch, name="signals", daemon=True).start()


def _first(number: int, _: object) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _first:
            signal.signal(each, _second)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _second(number: int, _: object) -> None:
    os.write(2, b"\nstopped at once\n")
    os._exit(128 + number)
