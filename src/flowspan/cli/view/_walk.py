"""
Walks through one JSON document of any length, and parses only what is asked for.

The text is read as it is needed and forgotten behind. Single values are the standard library's to
parse, which says where a value ends; of a long array of alike objects many are handed to orjson
at once, which takes a fifth of the time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from flowspan.cli.view._source import Unreadable
from flowspan.cli.view._values import TOO_DEEP

_READ: Final = 1 << 20
_MAX_VALUE: Final = 64 << 20  # of one span, or of one value that is passed over
_MAX_RUN: Final = 1 << 20  # of objects that are parsed at once
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_FIRST_KEY: Final = re.compile(r'\{\s*"[^"\\]{1,40}"\s*:\s*"?')
_WORDS: Final = ("true", "false", "null", "NaN", "-Infinity", "Infinity")
_decode: Final = json.JSONDecoder().raw_decode


class Malformed(Unreadable):
    """It is not JSON, from here on."""


class Cut(Unreadable):
    """It ends in the middle."""


class Walk:
    """Starts with *start*, which was read already, and goes on with what *read* gives."""

    def __init__(self, start: bytes, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._decoder.decode(start)
        self._at = 0
        self._ended = False

    def rest(self) -> bytes:
        """What was read and not walked through."""
        return self._text[self._at :].encode() + self._decoder.getstate()[0]

    # ---- structure

    def peek(self) -> str:
        """The next sign that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def members(self) -> Iterator[str]:
        """The keys of an object; each value is to be walked through before the next key."""
        yield from self._listed("{", "}", self._key)

    def elements(self) -> Iterator[None]:
        """Stands before each element of an array, which is to be walked through."""
        yield from self._listed("[", "]", lambda: None)

    def value(self) -> Any:
        """The value that starts here."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated") or (
                    error.pos >= len(self._text) - 16  # within a number, a name or an escape
                )
                if not unfinished or (self._ended and not self._is_cut(error)):
                    raise Malformed(f"not JSON ({error.msg.lower()})") from None
            except RecursionError:
                raise Malformed(TOO_DEEP) from None
            else:
                # A number may go on behind what was read.
                if end < len(self._text) or isinstance(value, (str, dict, list)) or self._ended:
                    self._at = end
                    return value
            if len(self._text) - self._at > _MAX_VALUE:
                raise Malformed(f"a single value of more than {_MAX_VALUE >> 20} MiB")
            if self._ended:
                raise Cut("it ends in the middle")
            self._more()

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether what comes after the end could make it right."""
        rest = self._text[error.pos :].rstrip()
        return (
            not rest
            or error.msg.startswith(("Unterminated", "Invalid \\"))
            or any(word.startswith(rest) for word in _WORDS)
        )

    def objects(self) -> Iterator[list[Any]]:
        """All elements of an array, many at a time."""
        size, mark = 1 << 16, ""
        for _ in self.elements():
            start = self._at
            one = self.value()
            yield [one]
            if not mark and (first := _FIRST_KEY.match(self._text, start)):
                mark = first.group()
            while mark and isinstance(one, dict):
                run = self._run(mark, one.keys(), size)
                if not run:
                    size = 1 << 16
                    break
                yield run
                size = min(size * 2, _MAX_RUN)

    def _run(self, mark: str, like: Any, size: int) -> list[Any]:
        """
        The elements behind the one just read that end within *size* signs; [] if that is not clear.

        An element starts like the first one. That looks the same where it stands within another
        element (a link starts like a span), so what starts there is parsed and must have a key
        that only elements have. If the array ends before, it is parsed that far.
        """
        while len(self._text) - self._at < size and self._more():
            pass
        if self.peek() != ",":
            return []
        text, start = self._text, self._at + 1
        end = start + size
        for _ in range(8):
            end = text.rfind(mark, start, end)
            if end <= start:
                return []
            if text[start:end].rstrip()[-1:] == ",":
                try:
                    found, _ = _decode(text, end)
                except (json.JSONDecodeError, RecursionError):
                    continue  # it goes on behind what was read
                if isinstance(found, dict) and len(found.keys() & like) >= _ALIKE * len(like):
                    break
        else:
            return []
        upto = start + len(text[start:end].rstrip()) - 1  # the comma
        try:
            run = orjson.loads(f"[{text[start:upto]}]")
        except orjson.JSONDecodeError as error:
            if not error.msg.startswith("unexpected content"):
                return []
            before = text[start : start + error.pos - 1].rstrip()
            upto = start + len(before) - 1  # the array's own bracket
            run = orjson.loads(f"[{text[start:upto]}]")
        self._at = upto
        assert isinstance(run, list)
        return run

    # ---- text

    def _listed(self, opening: str, closing: str, before: Callable[[], Any]) -> Iterator[Any]:
        self._expect(opening)
        if self.peek() != closing:
            while True:
                yield before()
                if self.peek() != ",":
                    break
                self._at += 1
        self._expect(closing)

    def _key(self) -> str:
        key = self.value() if self.peek() == '"' else None
        if not isinstance(key, str):
            raise (
                Malformed("not JSON (a key is missing)")
                if self.peek()
                else Cut("it ends in the middle")
            )
        self._expect(":")
        return key

    def _expect(self, sign: str) -> None:
        found = self.peek()
        if not found:
            raise Cut("it ends in the middle")
        if found != sign:
            raise Malformed(f"not JSON ({sign} is missing)")
        self._at += 1

    def _more(self) -> bool:
        if self._ended:
            return False
        data = self._read(max(_READ, len(self._text) - self._at))
        self._ended = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, self._ended)
        self._at = 0
        return not self._ended


_ALIKE: Final = 0.6
