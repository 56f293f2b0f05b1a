"""Memory that is not needed any more goes back to the system. Elsewhere than on glibc nothing happens."""

import ctypes
import gc
from typing import Any

_GARBAGE = (5_000, 10, 200)
"""Objects between two looks for cycles among the newest, and looks between those among the older. All threads stand
still for one: 5,000 objects take 4 ms. Hardly anything here is in a cycle, so the oldest are looked through rarely."""


def look_rarely() -> None:
    """What was loaded lives as long as we do; looking through it again and again for garbage is wasted time."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE)


def settle() -> None:
    """Ask glibc to give request bodies back when they are done, and to keep one heap instead of one a thread: a fifth
    less memory with many alerts (benchmarks/memory.py). To be called before there are threads."""
    # Names and numbers as in glibc's malloc.h: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD.
    for parameter, value in ((-8, 1), (-3, 64 * 1024), (-1, 128 * 1024)):
        _call("mallopt", parameter, value)


def give_back() -> None:
    """What lies free between things in use: by itself glibc only lets go of the end of its heap. A tenth less after a
    burst of 100,000 alerts; takes less than a millisecond, without Python's lock."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: Any) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return
    function(*arguments)
