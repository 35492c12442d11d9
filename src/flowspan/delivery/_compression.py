"""How a request's body gets smaller: the fast level of each way, since spans cost CPU."""

from __future__ import annotations

import zlib
from collections.abc import Callable

Compress = Callable[[bytes], bytes]


def _gzip(body: bytes) -> bytes:
    # Not gzip.compress: it writes the time into the header, and a retry sends the same bytes.
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def compressor(name: str) -> Compress | None:
    """
    The function for *name*; None for `none`. It is safe from several threads at once.

    Raises ImportError for zstd where its package is not installed.
    """
    if name == "gzip":
        return _gzip
    if name == "zstd":
        import zstandard  # an extra: flowspan[zstd]

        # A compressor of their own for each request: one must not be used by two threads.
        return lambda body: zstandard.ZstdCompressor(level=1).compress(body)
    return None
