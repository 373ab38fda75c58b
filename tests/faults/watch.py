"""What a piece of code does to the world: files it writes, processes it starts, sockets it opens, memory it takes."""

import contextlib
import os
import sys
import threading

_EVENTS: list | None = None
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
PATHS = {
    **{"os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.rename": 2, "os.symlink": 2, "os.link": 2, "os.truncate": 1},
    **{"os.chmod": 1, "os.utime": 1, "shutil.copyfile": 2, "shutil.move": 2, "shutil.rmtree": 1},
}
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")


def _hook(event, arguments):
    if _EVENTS is None:
        return
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes, os.PathLike)) and (flags & WRITING or (mode and set(mode) & set("wax+"))):
            _EVENTS.append(("write", os.fsdecode(path)))
    elif event in ("os.remove", "os.rmdir") and arguments[1] != -1:
        return  # Within a folder that `shutil.rmtree` has told of.
    elif event in PATHS:
        _EVENTS.extend(("write", os.fsdecode(path)) for path in arguments[: PATHS[event]] if not isinstance(path, int))
    elif event in PROCESSES:
        _EVENTS.append(("process", str(arguments[:2])))
    elif event.startswith("socket.") and event != "socket.gethostname":
        _EVENTS.append(("socket", event))


sys.addaudithook(_hook)  # It cannot be taken off again; without a list to write to, it does nothing.


@contextlib.contextmanager
def watching(folder):
    """Gives a list that holds, afterwards, `(what, where)` of all but the files written in `folder`."""
    global _EVENTS
    found, own = [], os.path.realpath(folder)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _EVENTS = events = []
    try:
        yield found
    finally:
        _EVENTS, sys.dont_write_bytecode = None, written
        found += [event for event in events if event[0] != "write" or not _is_within(event[1], own)]


def _is_within(path, folder):
    return path == os.devnull or os.path.realpath(path).startswith((folder + os.sep, "/proc/self/"))


class Memory(threading.Thread):
    """Looks at the resident memory of this process every few milliseconds; `peak` and `now` are in MB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0.0
        self.looking = threading.Lock()  # What was seen before a restart must not be written after it.
        self.stopped = threading.Event()
        self.start()

    @property
    def now(self):
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def run(self):
        while not self.stopped.wait(0.005):
            with self.looking:
                self.peak = max(self.peak, self.now)

    def restart(self):
        """Forgets the peak and returns what is resident now."""
        with self.looking:
            self.peak = self.now
            return self.peak
