"""
Connections to one collector: opened with a deadline, kept while idle, dropped at a fork.

A deadline holds for a whole exchange, however slowly the other end drips. Nothing here knows HTTP
beyond the CONNECT of a proxy, or logs anything.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flowspan.delivery import _tls
from flowspan.delivery._proxies import Proxy, WrongProxy
from flowspan.delivery._transport import Refused, Verdict

# getaddrinfo imports them when it is first called. A fork in the middle of that, by another thread,
# would leave the child without them for ever.
for _name in ("idna", "ascii"):
    codecs.lookup(_name)

MAX_IDLE = 8
"""Connections kept, which is as many as there are senders."""
MAX_IDLE_SECONDS = 30.0
"""After that a firewall or balancer may have forgotten the connection without a word."""
_CHUNK = 65536

T = TypeVar("T")
Address = tuple[int, Any]
"""An address family and an address of it."""


class Stream:
    """A connection on which every call ends at `deadline`, in seconds of `time.monotonic`."""

    __slots__ = ("_early", "at_end", "attached", "deadline", "idle_since", "sock")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.idle_since = 0.0
        self.at_end = False
        """Whether `recv` has met the end."""
        self.attached: Any = None
        """What the protocol above keeps with this connection."""
        self._early = b""

    @property
    def is_secured(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket)

    def left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def recv(self, size: int = _CHUNK) -> bytes:
        if self._early:
            data, self._early = self._early[:size], self._early[size:]
            return data
        self.sock.settimeout(self.left())
        data = self.sock.recv(size)
        self.at_end = not data
        return data

    def recv_now(self, size: int = _CHUNK) -> bytes | None:
        """What has arrived; None for nothing yet, empty for the end."""
        if self._early:
            return self.recv(size)
        self.sock.settimeout(0)
        try:
            return self.sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(self.left())
            view = view[self.sock.send(view) :]

    def send_unless_answered(self, data: bytes) -> bool:
        """Send *data*. False if the other end answered, or hung up, before it had it all."""
        view = memoryview(data)
        while view:
            if len(view) > _CHUNK and _HAS_POLL and self._has_answer():
                arrived = self.recv_now()
                if arrived is not None:  # None: TLS had something to say, not the server
                    self._early += arrived
                    return False
            self.sock.settimeout(self.left())
            view = view[self.sock.send(view[:_CHUNK]) :]
        return True

    def _has_answer(self) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        ready = poll.poll(self.left() * 1000)
        return any(event & ~select.POLLOUT for _, event in ready)

    def is_quiet(self) -> bool:
        """Whether nothing has arrived, not even the end."""
        if self._early or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            return False
        if not _HAS_POLL:
            return not select.select([self.sock], [], [], 0)[0]
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """For `http.client.HTTPResponse`. Closing it leaves the connection open."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self.sock.close()


_HAS_POLL = hasattr(select, "poll")


class _Reader(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _is_stale(error: Exception) -> bool:
    """Whether *error*, on a connection that was idle before, tells only that it was closed."""
    return isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError))


class Connections:
    """
    Opens connections to one place and keeps the idle ones. Safe from any thread.

    *proxy* is passed by a tunnel if *tunnel* is true; otherwise the caller speaks to the proxy.
    *context* is asked for once, at the first connection, and None stands for no TLS. *is_usable*
    says whether an idle one still is.
    """

    def __init__(
        self,
        addresses: Callable[[float], list[Address]],
        host: str,
        port: int,
        *,
        context: Callable[[], ssl.SSLContext] | None = None,
        proxy: Proxy | None = None,
        tunnel: bool = False,
        is_usable: Callable[[Stream], bool] = Stream.is_quiet,
    ) -> None:
        self._addresses = addresses
        self._host, self._port = host, port
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._proxy, self._tunnel = proxy, tunnel
        self._is_usable = is_usable
        self.closed = False
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Stream] = []
        self._open: set[socket.socket] = set()

    def exchange(self, deadline: float, talk: Callable[[Stream], tuple[T, bool]]) -> T:
        """The answer that *talk* gets by a connection, of which it says whether it is kept."""
        while True:
            stream, is_new = self.take(deadline)
            keep = False
            try:
                answer, keep = talk(stream)
                return answer
            except Exception as error:
                # The server closed an idle connection just now: that was no answer to this one.
                if is_new or self.closed or not _is_stale(error):
                    raise
            finally:
                if keep:
                    self.give_back(stream)
                else:
                    self.discard(stream)

    def take(self, deadline: float) -> tuple[Stream, bool]:
        """A connection, and whether it is a new one. Raises OSError."""
        while True:
            with self._lock:
                stream = self._idle.pop() if self._idle else None
            if stream is None:
                stream = self._connect(deadline)
                if not self.closed:
                    return stream, True
                self.discard(stream)
                raise Refused(Verdict.UNAVAILABLE, "the transport is closed")
            stream.deadline = deadline
            rested = time.monotonic() - stream.idle_since
            if rested < MAX_IDLE_SECONDS and self._is_usable(stream):
                return stream, False
            self.discard(stream)

    def give_back(self, stream: Stream) -> None:
        stream.idle_since = now = time.monotonic()
        with self._lock:
            idle = [] if self.closed else [*self._idle, stream]
            kept = [one for one in idle if now - one.idle_since < MAX_IDLE_SECONDS][:MAX_IDLE]
            dropped = {*self._idle, stream} - {*kept}
            self._idle = kept
        for one in dropped:
            self.discard(one)

    def discard(self, stream: Stream) -> None:
        with self._lock:
            self._open.discard(stream.sock)
        stream.close()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            idle, self._idle = self._idle, []
            busy = self._open - {stream.sock for stream in idle}
        for stream in idle:
            self.discard(stream)
        for sock in busy:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it

    def after_fork(self) -> None:
        inherited = self._open
        self._start()
        for sock in list(inherited):
            with contextlib.suppress(OSError):
                sock.close()  # the descriptor only: TLS says goodbye in unwrap, which nobody calls

    # ---- opening

    def _connect(self, deadline: float) -> Stream:
        if self.closed:
            raise Refused(Verdict.UNAVAILABLE, "the transport is closed")
        sock = self._reach(deadline)
        try:
            if self._proxy is not None and self._proxy.tls:
                if self._tunnel and self._make_context is not None:
                    raise WrongProxy(
                        "a proxy by https:// cannot carry TLS, expected http://host:port"
                    )
                sock = self._secured(sock, _tls.trusting(), self._proxy.host, deadline)
            stream = Stream(sock, deadline)
            if self._proxy is not None and self._tunnel:
                _pass(stream, self._proxy, self._host, self._port)
            if self._make_context is not None:
                if self._context is None:
                    self._context = self._make_context()
                stream.sock = sock = self._secured(sock, self._context, self._host, deadline)
            return stream
        except BaseException:
            self._forget(sock)
            raise

    def _reach(self, deadline: float) -> socket.socket:
        addresses = self._addresses(deadline)
        error: OSError = Refused(Verdict.UNAVAILABLE, "the host has no address")
        for position, (family, address) in enumerate(addresses):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            sock = socket.socket(family, socket.SOCK_STREAM)
            self._register(sock)
            try:
                sock.settimeout(left / (len(addresses) - position))
                sock.connect(address)
                if family != getattr(socket, "AF_UNIX", None):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return sock
            except OSError as failed:
                error = failed
                self._forget(sock)
            except BaseException:
                self._forget(sock)
                raise
        raise error

    def _secured(
        self, sock: socket.socket, context: ssl.SSLContext, host: str, deadline: float
    ) -> ssl.SSLSocket:
        self._forget_only(sock)
        secured = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        self._register(secured)
        try:
            secured.settimeout(max(0.001, deadline - time.monotonic()))
            secured.do_handshake()
        except BaseException:
            self._forget(secured)
            raise
        return secured

    def _register(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)

    def _forget_only(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.discard(sock)

    def _forget(self, sock: socket.socket) -> None:
        self._forget_only(sock)
        sock.close()


def _pass(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"
    if proxy.authorization:
        head += f"Proxy-Authorization: {proxy.authorization}\r\n"
    stream.send_all(f"{head}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)  # what follows the head is the tunnel's
        answer += byte
        if not byte or len(answer) > 16384:
            raise Refused(Verdict.UNAVAILABLE, f"the proxy {proxy.host} gave no HTTP answer")
    status = answer.split(b"\r\n", 1)[0].split(b" ")[1:2]
    code = int(status[0]) if status and status[0].isdigit() else 0
    if 200 <= code < 300:
        return
    ours = code in (400, 401, 403, 404, 405, 407)
    raise Refused(
        Verdict.MISCONFIGURED if ours else Verdict.UNAVAILABLE,
        f"the proxy {proxy.host} refuses the tunnel with status {code}"
        + (": it wants other credentials" if code == 407 else ""),
    )


class Resolver:
    """
    Looks a host's addresses up without waiting past a deadline.

    A lookup cannot be interrupted, so it runs in a thread; while one hangs, nobody starts another.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._running: _Lookup | None = None

    def __call__(self, deadline: float) -> list[Address]:
        try:  # numbers need no asking
            return _Lookup(self._host, self._port, socket.AI_NUMERICHOST).run()
        except socket.gaierror:
            pass
        with self._lock:
            lookup = self._running
            if lookup is None or lookup.done.is_set():
                lookup = self._running = _Lookup(self._host, self._port)
                threading.Thread(target=lookup.finish, name="flowspan-resolve", daemon=True).start()
        if not lookup.done.wait(max(0.0, deadline - time.monotonic())):
            raise Refused(Verdict.UNAVAILABLE, f"the name {self._host} is still being looked up")
        if lookup.error is not None:
            raise lookup.error
        return lookup.addresses

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._running = None


class _Lookup:
    def __init__(self, host: str, port: int, flags: int = 0) -> None:
        self._host, self._port, self._flags = host, port, flags
        self.done = threading.Event()
        self.addresses: list[Address] = []
        self.error: OSError | None = None

    def run(self) -> list[Address]:
        found = socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=self._flags
        )
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))

    def finish(self) -> None:
        try:
            self.addresses = self.run()
        except OSError as error:
            self.error = error
        except UnicodeError:
            self.error = socket.gaierror(socket.EAI_NONAME, "not a host name")
        finally:
            self.done.set()


def ascii_host(host: str) -> str:
    """*host* as DNS and headers take it; one that they cannot take stays, and is not found."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return "".join(c if c.isascii() else "-" for c in host)


def why(error: Exception) -> tuple[Verdict, str]:
    """What *error* of a connection means for the request, and for a person."""
    if isinstance(error, Refused):
        return error.verdict, error.message
    if isinstance(error, WrongProxy):
        return Verdict.MISCONFIGURED, str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            Verdict.MISCONFIGURED,
            f"the server's certificate is not trusted: {error.verify_message}",
        )
    if isinstance(error, ssl.SSLError):
        return _why_tls(error)
    if isinstance(error, TimeoutError):
        return Verdict.UNAVAILABLE, "timed out"
    if isinstance(error, socket.gaierror):
        return Verdict.UNAVAILABLE, f"the host is not found ({error.strerror})"
    if isinstance(error, OSError):
        said = error.strerror.lower() if error.strerror else str(error)
        return Verdict.UNAVAILABLE, said or type(error).__name__
    return Verdict.UNAVAILABLE, f"{type(error).__name__}"


_ABOUT_US = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED", "DECRYPT_ERROR")


def _why_tls(error: ssl.SSLError) -> tuple[Verdict, str]:
    reason = (error.reason or "").upper().replace(" ", "_")
    said = reason.replace("_", " ").lower() or "the connection broke"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return Verdict.MISCONFIGURED, "the port does not speak TLS: is it an http:// endpoint?"
    if "NO_APPLICATION_PROTOCOL" in reason:
        return Verdict.MISCONFIGURED, "the server does not speak the version of HTTP that is needed"
    if "ALERT" in reason and any(word in reason for word in _ABOUT_US):
        return Verdict.MISCONFIGURED, f"the server refuses our TLS or certificate: {said}"
    return Verdict.UNAVAILABLE, f"TLS failed: {said}"
