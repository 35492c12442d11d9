"""
The bytes of an input, unpacked as they are read: gzip and, with its package, zstd.
"""

from __future__ import annotations

import zlib
from typing import IO, Any, Final, cast

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1 << 18


class Unreadable(Exception):
    """Says in words what is wrong with an input. What was read of it before stays good."""


class Source:
    """Reads *file* from where it stands. OSError passes; `Unreadable` is said of what is packed."""

    def __init__(self, file: IO[bytes]) -> None:
        start = file.read(_CHUNK)
        self.is_empty = not start
        self._inner: _Plain | _Gzip | _Zstd
        if start.startswith(_GZIP):
            self._inner = _Gzip(file, start)
        elif start.startswith(_ZSTD):
            self._inner = _Zstd(file, start)
        else:
            self._inner = _Plain(file, start)

    def read(self, size: int) -> bytes:
        """At least one byte and at most *size*, or nothing at the end."""
        return self._inner.read(size)


class _Plain:
    def __init__(self, file: IO[bytes], start: bytes) -> None:
        self._file, self._start = file, start

    def read(self, size: int) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return self._file.read(size)


class _Gzip:
    """Several members one after another are one input, as for gunzip."""

    def __init__(self, file: IO[bytes], start: bytes) -> None:
        self._file, self._packed = file, start
        self._unpack: Any = zlib.decompressobj(31)

    def read(self, size: int) -> bytes:
        while True:
            if self._unpack.eof:
                self._packed = self._unpack.unused_data.lstrip(b"\0") or self._file.read(_CHUNK)
                if not self._packed:
                    return b""
                self._unpack = zlib.decompressobj(31)
            try:
                data: bytes = self._unpack.decompress(self._packed, size)
            except zlib.error:
                raise Unreadable("the gzip data are damaged") from None
            self._packed = self._unpack.unconsumed_tail
            if data:
                return data
            if not self._packed and not self._unpack.eof:
                self._packed = self._file.read(_CHUNK)
                if not self._packed:
                    raise Unreadable("the gzip data end in the middle")


class _Zstd:
    def __init__(self, file: IO[bytes], start: bytes) -> None:
        try:
            import zstandard  # an extra: flowspan[zstd]
        except ImportError:
            raise Unreadable(
                "zstd needs the package zstandard: pip install 'flowspan[zstd]', or unpack it first"
            ) from None
        self._error = zstandard.ZstdError
        self._file = _Joined(file, start)
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            cast("IO[bytes]", self._file), read_across_frames=True, closefd=False
        )

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except self._error:
            raise Unreadable("the zstd data are damaged") from None


class _Joined:
    """What was read already, then the file."""

    def __init__(self, file: IO[bytes], start: bytes) -> None:
        self._plain = _Plain(file, start)

    def read(self, size: int = -1) -> bytes:
        return self._plain.read(_CHUNK if size < 0 else size)
