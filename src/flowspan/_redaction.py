"""
Which keys and which patterns are hidden, and how text is searched for them.

A key hides its whole value; a pattern hides what it matches inside any text. Most payloads hold
no secret, so the search has two steps: one regular expression looks for the short anchors that
every default pattern contains, and only the patterns whose anchor is there are tried.
Leans on the standard library only; knows nothing of spans or payloads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

REPLACEMENT: Final = "[REDACTED]"

DEFAULT_KEYS: Final[tuple[str, ...]] = (
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secrets",
    "token",
    "api_key",
    "api_keys",
    "access_key",
    "access_key_id",
    "account_key",
    "private_key",
    "secret_key",
    "signing_key",
    "encryption_key",
    "service_account_key",
    "credential",
    "credentials",
    "authorization",
    "proxy_authorization",
    "cookie",
    "cookies",
    "set_cookie",
    "jwt",
)
"""Hidden when a key ends with one of these, whatever its case and separators."""

# Words before `=` or `:` in running text. A subset: prose speaks of tokens and cookies.
_ASSIGNED = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|(?:api|account|private|secret)[_-]?key"
    r"|(?:shared[_-]?)?access[_-]?key(?:[_-]?id)?"
    r"|(?:auth|access|refresh|session|id|bearer|api)[_-]?token)"
)
_ASSIGNED_ANCHORS: Final = (
    *("password", "passwd", "passphrase", "pwd", "secret", "authorization"),
    *(
        f"{what}{joint}{kind}"
        for kind, whose in (
            ("key", ("api", "account", "private", "secret", "access")),
            ("token", ("auth", "access", "refresh", "session", "id", "bearer", "api")),
        )
        for what in whose
        for joint in ("", "_", "-")
    ),
)
# Such a word must stand before `=` or `:`. A bare quote before it ends a key of the JSON itself.
_ANY_CASE: Final = ("bearer", "basic", "token=", "key=", "sig=", "signature=", "code=")
_COLON_IN_TEXT: Final = re.compile(rb""":(?<!":)""")
_ASSIGNS: Final = r"""(?=(?:[_-]?id)?(?:\\+["']|')?(?:\s|\\[nrt])*[=:])"""
# What follows: quoted, quoted inside a JSON string, or bare. The quotes stay.
_VALUE = (
    r"""\\?["']?(?P<secret>(?!\[REDACTED\])(?:(?<=[^\\]")(?:[^"\\]|\\.)+"""
    r"""|(?<=\\")(?:[^"\\]|\\[^"])+|(?<=')(?:[^'\\]|\\[^'])+"""
    r"""|[^\s"'\\,;&<>(){}\[\]]+))"""
)

_ANCHORED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    # (pattern, anchors: every match contains one of them)
    # OpenAI, Anthropic, OpenRouter, Langfuse and others that begin alike
    (r"\b[sp]k-(?=[A-Za-z_-]{0,99}\d)[A-Za-z0-9][A-Za-z0-9_-]{15,}", ("sk-", "pk-")),
    (r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", ("k_live_", "k_test_")),  # Stripe
    (r"\bAIza[A-Za-z0-9_-]{35}", ("AIza",)),  # Google API
    (r"\bya29\.[A-Za-z0-9_-]{20,}", ("ya29.",)),  # Google OAuth
    (r"\bGOCSPX-[A-Za-z0-9_-]{20,}", ("GOCSPX-",)),  # Google client secret
    (r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", ("AKIA", "ASIA", "ABIA", "ACCA")),  # AWS
    (r"\bgh[pousr]_[A-Za-z0-9]{30,}", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),  # GitHub
    (r"\bgithub_pat_[A-Za-z0-9_]{22,}", ("github_pat_",)),
    (r"\bglpat-[A-Za-z0-9_-]{20,}", ("glpat-",)),  # GitLab
    (r"\bxox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}", ("xox",)),  # Slack
    (r"\bxapp-\d-[A-Za-z0-9-]{10,}", ("xapp-",)),
    (r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/_-]{20,}", ("hooks.slack",)),
    (r"\bhf_[A-Za-z0-9]{30,}", ("hf_",)),  # Hugging Face
    (r"\b(?:gsk_|xai-|pplx-|r8_)[A-Za-z0-9]{30,}", ("gsk_", "xai-", "pplx-", "r8_")),
    (r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", ("SG.",)),  # SendGrid
    (r"\bnpm_[A-Za-z0-9]{36}\b", ("npm_",)),
    (r"\bpypi-[A-Za-z0-9_-]{50,}", ("pypi-",)),
    (
        r"""(?i:\bauthorization)\\?["']?\s*[:=]\s*\\?["']?(?:(?i:bearer|basic|token|digest)\s+)?"""
        r"""(?P<secret>(?!\[REDACTED\])[^\s"'\\,;]{6,})""",
        ("authorization",),
    ),
    (
        r"\b(?i:bearer)\s+(?P<secret>(?=\S{0,63}\d|\S{0,63}[a-z][A-Z]|\S{32})[A-Za-z0-9._~+/-]{16,}=*)",
        ("bearer",),
    ),
    (r"\b(?i:basic)\s+(?P<basic>[A-Za-z0-9+/]{6,}={0,2})(?![A-Za-z0-9+/=])", ("basic",)),
    (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}", ("eyJ",)),  # JWT, JWE
    (
        r"(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ("PRIVATE KEY",),
    ),
    # the password of a URL, up to the last @ before the path
    (
        r"""\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/?#@"'<>\\]{0,256}:"""
        r"""(?P<secret>(?!\[REDACTED\]@)[^\s/"'<>\\]{1,512})@""",
        ("://",),
    ),
    # key=value, in DSNs, query strings and logs; the value of a quoted key; key: value
    (
        rf"(?i:{_ASSIGNED})\\?[\"']?\s?=(?!=)\s?{_VALUE}",
        _ASSIGNED_ANCHORS,
    ),
    (
        rf"(?i)[?&;](?:token|key|sig|signature|x-amz-signature|code)={_VALUE}",
        ("token=", "key=", "sig=", "signature=", "code="),
    ),
    (
        rf"(?i:\\?[\"'][\w-]{{0,64}}{_ASSIGNED}\\?[\"']\s*:\s*){_VALUE}",
        _ASSIGNED_ANCHORS,
    ),
    (
        r"(?i:\b(?:password|passwd|passphrase|pwd|api[_-]?key|secret[_-]key|access[_-]?key"
        r"|(?:auth|access|refresh)[_-]token))\s*:\s*"
        r"""(?P<secret>(?!\[REDACTED\])(?!\d\d?:\d\d\b)(?=[^\s"']*[\d!@#$%^&*+])[^\s"'\\,;]{4,})""",
        _ASSIGNED_ANCHORS,
    ),
)

# 13 to 19 digits in the shapes that issuers print, checked by Luhn. Told apart by prefix and
# length, so that timestamps in milliseconds (13) and nanoseconds (19) are none of them.
_CARD: Final = (
    r"(?<![\w.+-])(?P<card>"
    r"(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6(?:011|5\d\d|4[4-9]\d|2\d\d|7\d\d)|35\d\d|50\d\d)"
    r"(?P<_s>[ -]?)\d{4}(?P=_s)\d{4}(?P=_s)\d{4}(?:(?P=_s)\d{3})?"
    r"|3[47]\d\d(?P<_a>[ -]?)\d{6}(?P=_a)\d{5}"
    r"|3(?:0[0-5]|[68]\d)\d(?P<_d>[ -]?)\d{6}(?P=_d)\d{4}"
    r"|4\d{12}"
    r")(?![\w-]|\.\d)"
)

DEFAULT_PATTERNS: Final[tuple[str, ...]] = (*(pattern for pattern, _ in _ANCHORED), _CARD)
"""
Regular expressions. A group named `secret` is what is hidden, else the whole match; a group named
`card` must pass the Luhn checksum, one named `basic` must decode to `user:password`.
"""

_ANCHORS: Final = dict(_ANCHORED)
_DIGIT_RUN: Final = b"0" * 13
_DIGITS: Final = bytes(ord("0") if chr(i).isdigit() and i < 128 else ord(".") for i in range(256))


# How often a character stands in prose and JSON, roughly, per thousand; capitals are rare.
# Punctuation counts as rarest, because most keys have it: fewer searches for more anchors.
_FREQUENT: Final = dict(
    zip(
        "etaoinsrhldcumfpgwybvkxjqz _-:/=.",
        (
            *(90, 65, 60, 55, 50, 50, 50, 45, 40, 30, 30, 25, 22, 22, 16, 16, 15, 14, 14, 11),
            *(8, 6, 2, 2, 1, 1, 120, 1, 1, 25, 1, 1, 1),
        ),
        strict=True,
    )
)


class _Search:
    """
    Finds which of *anchors* stand in a text.

    A search is as fast as the first character of its expression is rare, so each anchor is looked
    for from its rarest character, with what stands around it as look-behind and look-ahead; one
    expression for each such character, and none where the text lacks it.
    """

    __slots__ = ("_by_pivot",)

    def __init__(self, anchors: Iterable[str], follows: str = "") -> None:
        by_pivot: dict[str, list[str]] = {}
        for anchor in anchors:
            by_pivot.setdefault(min(anchor, key=lambda c: _FREQUENT.get(c, 2)), []).append(anchor)
        self._by_pivot: list[tuple[bytes, Any, Any, list[str]]] = []
        for pivot, words in by_pivot.items():
            around = (word.split(pivot, 1) for word in words)
            branches = (
                f"(?<={re.escape(before + pivot)})(?={re.escape(after)}{follows})()"
                for before, after in around
            )
            expression = f"{re.escape(pivot)}(?:{'|'.join(branches)})".encode()
            compiled = re.compile(expression)
            self._by_pivot.append((pivot.encode(), compiled.search, compiled.finditer, words))

    def __call__(self, data: bytes) -> list[str]:
        found: list[str] = []
        for pivot, search, finditer, words in self._by_pivot:
            if pivot in data and search(data):
                found.extend(words[(match.lastindex or 1) - 1] for match in finditer(data))
        return found


def _luhn(number: str) -> bool:
    digits = [int(c) for c in number if c.isdigit()]
    doubled = (d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _user_and_password(encoded: str) -> bool:
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    return b":" in decoded and decoded.isascii() and decoded.decode("ascii").isprintable()


def _words(key: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", key)]


class Redactor:
    """
    Decides what is a secret. Immutable but for a bounded memory of keys; safe from any thread.

    *keys* hide a value when its key ends with one of them: `api_key` hides `OPENAI_API_KEY`,
    `openaiApiKey` and `x-api-key`, not `api_key_name`; `password` hides wherever it is a word.
    *patterns* are regular expressions, see `DEFAULT_PATTERNS`. Raises `re.error` on a bad one.
    """

    def __init__(
        self, keys: Sequence[str] = DEFAULT_KEYS, patterns: Sequence[str] = DEFAULT_PATTERNS
    ) -> None:
        self._keys = frozenset("".join(_words(key)) for key in keys) - {""}
        self._long_keys = tuple(key for key in self._keys if len(key) > 4)
        self.known_keys: dict[str, bool] = {}  # what `hides` said, for those who look first
        self._always: list[re.Pattern[str]] = []
        self._anchored: list[re.Pattern[str]] = []
        by_anchor: dict[str, list[int]] = {}
        self._card: re.Pattern[str] | None = None
        for pattern in patterns:
            compiled = re.compile(pattern)
            if pattern == _CARD:
                self._card = compiled
            elif pattern in _ANCHORS:
                for anchor in _ANCHORS[pattern]:
                    by_anchor.setdefault(anchor, []).append(len(self._anchored))
                self._anchored.append(compiled)
            else:
                self._always.append(compiled)
        self._by_anchor = by_anchor
        assigned = [a for a in by_anchor if a in _ASSIGNED_ANCHORS]
        self._exact = _Search(a for a in by_anchor if a not in assigned and a not in _ANY_CASE)
        self._folded = _Search(a for a in by_anchor if a in _ANY_CASE)
        self._assigned = _Search(assigned, _ASSIGNS)

    def hides(self, key: str) -> bool:
        """Whether the value of *key* is hidden."""
        known = self.known_keys.get(key)
        if known is None:
            known = self._decide(key)
            if len(self.known_keys) < 4096 and len(key) < 256:
                self.known_keys[key] = known
        return known

    def _decide(self, key: str) -> bool:
        words = _words(key[:256])
        if not words:
            return False
        suffix = ""
        for word in reversed(words):
            suffix = word + suffix
            if suffix in self._keys:
                return True
        if words[-1].endswith(self._long_keys):
            return True
        return "password" in self._keys and any(
            word.startswith(("password", "passwd")) for word in words
        )

    def suspects(self, data: bytes) -> list[re.Pattern[str]]:
        """The patterns that may match the UTF-8 text *data*; empty for nearly all text."""
        found = self._always
        lower = data.lower()
        anchors = [*self._exact(data), *self._folded(lower)]
        if b"=" in data or b'\\":' in data or _COLON_IN_TEXT.search(data):
            anchors += self._assigned(lower)
        if anchors:
            which = {index for anchor in anchors for index in self._by_anchor[anchor]}
            found = [*found, *(self._anchored[index] for index in sorted(which))]
        if self._card is not None and _DIGIT_RUN in data.translate(_DIGITS, b" -"):
            found = [*found, self._card]
        return found

    def redact(
        self, text: str, patterns: Sequence[re.Pattern[str]] | None = None
    ) -> tuple[str, int]:
        """*text* without its secrets, and how many there were."""
        count = 0

        def hide(match: re.Match[str]) -> str:
            nonlocal count
            groups = match.re.groupindex
            if "card" in groups and not _luhn(match["card"]):
                return match[0]
            if "basic" in groups and not _user_and_password(match["basic"]):
                return match[0]
            name = "secret" if "secret" in groups else "basic" if "basic" in groups else 0
            start, end = match.span(name)
            if start < 0 or start == end or match[name] == REPLACEMENT:
                return match[0]
            count += 1
            offset = match.start()
            return match[0][: start - offset] + REPLACEMENT + match[0][end - offset :]

        if patterns is None:
            patterns = self.suspects(text.encode("utf-8", "replace"))
        for pattern in patterns:
            text = pattern.sub(hide, text)
        return text, count
