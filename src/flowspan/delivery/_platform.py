"""
Where the operating system differs: locks, reads and writes at an offset, private directories.

On Windows there is no `flock`: one byte far behind the end of a file is locked by `msvcrt`. Not
held there: who owns a directory and who may write to it (its ACL decides); a file that is open
cannot be renamed or deleted, so a new one has its name before its lock (an adopter may be faster:
the maker takes another name), and one that another process has open goes when that lets go of it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
import time
from functools import cache

O_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    import msvcrt

    RENAMES_OPEN_FILES = False
    _LOCKED_BYTE = 0x7FFF0000
    _seek = threading.Lock()

    def lock(fd: int) -> bool:
        """Take the file for this open descriptor; False if another one has it. Never waits."""
        with _seek:
            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            except OSError:
                return False
        return True

    def release(fd: int) -> None:
        with _seek:
            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

    def read_at(fd: int, size: int, offset: int) -> bytes:
        with _seek:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)

    def write_at(fd: int, data: bytes, offset: int) -> int:
        with _seek:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

    def remove(path: str, fd: int) -> None:
        """Delete the file and close it. An open file cannot be deleted here."""
        os.close(fd)
        unlink(path)

else:
    import fcntl

    RENAMES_OPEN_FILES = True
    read_at, write_at = os.pread, os.pwrite

    def lock(fd: int) -> bool:
        """
        Take the file for this open descriptor; False if another one has it. Never waits.

        A forked child shares the lock: it closes the descriptor, which leaves it to the parent.
        """
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)

    def remove(path: str, fd: int) -> None:
        """Delete the file and close it, in this order: nobody adopts what is about to go."""
        unlink(path)
        os.close(fd)


def is_locked(fd: int) -> bool:
    """Whether another open descriptor has the file's lock. Holds it for a moment to find out."""
    if not lock(fd):
        return True
    release(fd)
    return False


def unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # gone already, or in use: its header says that nothing in it waits


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write *data* at *offset*, whole. Raises OSError, perhaps with a part of it written."""
    written = write_at(fd, data, offset)
    while written < len(data):
        more = write_at(fd, data[written:], offset + written)
        if not more:
            raise OSError(errno.EIO, "nothing could be written")
        written += more


def is_unlinked(fd: int) -> bool:
    """Whether the open file has lost its name. Never so on Windows."""
    return sys.platform != "win32" and os.fstat(fd).st_nlink == 0


def is_at(fd: int, path: str) -> bool:
    """Whether the open file is still the one of that name."""
    found, named = os.fstat(fd), os.lstat(path)
    return (found.st_ino, found.st_dev) == (named.st_ino, named.st_dev)


def is_own_file(fd: int) -> bool:
    """A regular file that belongs to this user."""
    found = os.fstat(fd)
    is_own = sys.platform == "win32" or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and is_own


class Refused(OSError):
    """A directory that spans must not be written to; the text says why, in one sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


def private_directory(path: str) -> None:
    """
    Make sure that *path* is a directory of this user alone, made (0700) if it is missing.

    Raises `Refused` for one that is somebody else's, a link, or open to others' writing, and
    OSError where it cannot be made.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        _make(path)
        found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise Refused(f"the spool directory {path} is a symbolic link")
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(f"the spool directory {path} is not a directory")
    if sys.platform != "win32":
        if found.st_uid != os.geteuid():
            owner = f"user {found.st_uid}, not to user {os.geteuid()}"
            raise Refused(f"the spool directory {path} belongs to {owner}")
        if found.st_mode & 0o022:
            mode = stat.S_IMODE(found.st_mode)
            raise Refused(f"others may write to the spool directory {path} (mode {mode:04o})")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"the spool directory {path} cannot be read and written")


def _make(path: str) -> None:
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        _make(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # another process was faster


class Clock:
    """The wall clock, which jumps, and the time since boot, which does not. In nanoseconds."""

    def wall(self) -> int:
        return time.time_ns()

    def uptime(self) -> int:
        """Since the machine's boot, sleep included, where *boot* is known; else monotonic."""
        return _uptime()

    def boot(self) -> bytes:
        """16 bytes that differ from boot to boot; empty where there are none."""
        return _boot()


if sys.platform == "linux":

    def _uptime() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
else:
    _uptime = time.monotonic_ns


@cache
def _boot() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))[:16]
    except (OSError, ValueError):
        return b""
