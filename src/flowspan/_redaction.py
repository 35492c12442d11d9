"""
Which keys and which patterns are hidden, and how text is searched for them.

A key hides its whole value; a pattern hides what it matches inside any text. Most text holds no
secret, so the search has two steps: `suspects` looks for what every match of a default pattern
must contain (a long run of token characters with a prefix in it, a word before `=` or `:`, a few
digits in a row), by searches that cost next to nothing, and only the patterns left are tried.
Leans on the standard library only; knows nothing of spans or payloads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

REPLACEMENT: Final = "[REDACTED]"
SHORTEST_SECRET: Final = 5  # characters of the shortest text with a secret in it: `pwd=x`

DEFAULT_KEYS: Final[tuple[str, ...]] = (
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "secrets",
    "token",
    "auth_tokens",
    "access_tokens",
    "refresh_tokens",
    "api_key",
    "api_keys",
    "access_key",
    "access_key_id",
    "account_key",
    "private_key",
    "secret_key",
    "signing_key",
    "encryption_key",
    "session_key",
    "subscription_key",
    "service_account_key",
    "connection_string",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "proxy_authorization",
    "cookie",
    "cookies",
    "set_cookie",
    "jwt",
)
"""Hidden when a key ends with one of these, whatever its case and separators."""

# Tokens of a page, of a text: no secrets, unless somebody says so.
_HARMLESS: Final = (
    "next",
    "page",
    "continuation",
    "eos",
    "bos",
    "sep",
    "pad",
    "unk",
    "cls",
    "mask",
)
_NO_SECRETS: Final = frozenset(f"{word}token" for word in _HARMLESS)

# Words before `=` or `:` in running text. A subset: prose speaks of tokens and cookies.
# `PWD=/home` in an environment is a directory.
_ASSIGNED = (
    r"(?:passw(?:or)?d|passphrase|(?<![A-Za-z])pass"
    r"|(?!(?-i:(?:(?<![;\w])|(?<=OLD))PWD=[/~]))pwd"
    r"|secret|(?:api|account|private|secret)[_-]?key"
    r"|(?:shared[_-]?)?access[_-]?key(?:[_-]?id)?"
    r"|(?:auth|access|refresh|session|id|bearer|api)[_-]?token)"
)
# A quoted key is a key and no prose: here the words of `DEFAULT_KEYS` count as well.
_QUOTED: Final = (
    "(?:"
    + "".join(f"(?<!{word})(?<!{word}[_-])" for word in _HARMLESS)
    + "token|cookies?|credentials?|jwt)"
)
_ASSIGNED_ANCHORS: Final = ("pass", "pwd", "secret", "key", "token")
# Before a token: no letter, digit or underscore, but for the end of an escape.
_START: Final = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrtbf])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))"
_AUTHORIZATION: Final = r"""(?i:authorization)\\{0,7}["']?\s*[:=]\s*\\{0,7}["']?"""
# Schemes whose credentials are a list to the end of the line.
_LISTS: Final = r"(?i:digest|aws4-hmac-sha256|signature|hawk|oauth)"
# What follows: quoted, quoted inside a JSON string, or bare. The quotes stay.
_LITERAL: Final = r"""(?i:none|null|nil|undefined|true|false)(?=[\s"'\\,;&)}\]]|\Z)"""
_VALUE = (
    r"""(?:[bBrRuUfF]{1,2}(?=["']))?\\{0,7}["']?"""
    rf"""(?P<secret>(?!\[REDACTED\])(?!{_LITERAL})(?:(?<=[^\\]")(?:[^"\\]|\\.)+"""
    r"""|(?<=\\")(?:[^"\\]|\\[^"])+|(?<=')(?:[^'\\]|\\.)+"""
    r"""|[^\s"'\\,;&<>(){}\[\]]+))"""
)

_ANCHORED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    # (pattern, anchors: every match contains one of them)
    # OpenAI, Anthropic, OpenRouter, Langfuse and others that begin alike
    (_START + r"[sp]k-(?=[A-Za-z_-]{0,99}\d)[A-Za-z0-9][A-Za-z0-9_-]{15,}", ("sk-", "pk-")),
    (_START + r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", ("k_live_", "k_test_")),  # Stripe
    (_START + r"AIza[A-Za-z0-9_-]{35}", ("AIza",)),  # Google API
    (_START + r"ya29\.[A-Za-z0-9_-]{20,}", ("ya29.",)),  # Google OAuth
    (_START + r"GOCSPX-[A-Za-z0-9_-]{20,}", ("GOCSPX-",)),  # Google client secret
    (_START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", ("AKIA", "ASIA", "ABIA", "ACCA")),  # AWS
    (_START + r"gh[pousr]_[A-Za-z0-9]{30,}", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),  # GitHub
    (_START + r"github_pat_[A-Za-z0-9_]{22,}", ("github_pat_",)),
    (_START + r"glpat-[A-Za-z0-9_-]{20,}", ("glpat-",)),  # GitLab
    (_START + r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}", ("xox",)),  # Slack
    (_START + r"xapp-\d-[A-Za-z0-9-]{10,}", ("xapp-",)),
    (r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/_-]{20,}", ("hooks.slack",)),
    (_START + r"hf_[A-Za-z0-9]{30,}", ("hf_",)),  # Hugging Face
    (_START + r"(?:gsk_|xai-|pplx-|r8_)[A-Za-z0-9]{30,}", ("gsk_", "xai-", "pplx-", "r8_")),
    (_START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", ("SG.",)),  # SendGrid
    (_START + r"npm_[A-Za-z0-9]{36}\b", ("npm_",)),
    (_START + r"pypi-[A-Za-z0-9_-]{50,}", ("pypi-",)),
    (
        rf"""{_AUTHORIZATION}{_LISTS}\s+"""
        r"""(?P<secret>(?!\[REDACTED\])[^\r\n\\]{6,})""",
        ("authorization",),
    ),
    (
        rf"""{_AUTHORIZATION}"""
        r"""(?:(?i:bearer|basic|token|api-?key|key|negotiate|ntlm)\s+)?"""
        rf"""(?P<secret>(?!\[REDACTED\])(?!{_LISTS}\s)"""
        r"""[^\s"'\\,;]{6,})""",
        ("authorization",),
    ),
    (
        r"""(?i:cookie)\\{0,7}["']?\s*:\s*\\{0,7}["']?"""
        r"""(?P<secret>(?!\[REDACTED\])[^\s=;,"'\\]{1,64}=[^\r\n"'\\]+)""",
        ("cookie",),
    ),
    (
        r"\b(?i:bearer)\s+(?P<secret>(?=\S{0,63}\d|\S{0,63}[a-z][A-Z]|\S{32})[A-Za-z0-9._~+/-]{16,}=*)",
        ("bearer",),
    ),
    (r"\b(?i:basic)\s+(?P<basic>[A-Za-z0-9+/]{6,}={0,2})(?![A-Za-z0-9+/=])", ("basic",)),
    # JWT, JWE: only at the start of a run, or a long one would be searched again and again
    (
        r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F]))"
        r"eyJ[A-Za-z0-9_-]{9,}(?:\.[A-Za-z0-9_-]*){1,4}",
        ("eyJ",),
    ),
    (
        r"(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ("-----begin",),
    ),
    # the password of a URL, up to the last @ before the path
    (
        r"""\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/?#@"'<>\\]{0,256}:"""
        r"""(?P<secret>(?!\[REDACTED\]@)[^\s/"'<>\\]{1,512})@""",
        ("://",),
    ),
    # and that of a data source in Go
    (
        r"""(?<![\w.-])[\w.-]{1,64}:(?P<secret>(?!\[REDACTED\]@)[^\s"'<>\\]{1,128})"""
        r"""@[a-z]{1,16}\([^\s()]{0,256}\)/""",
        (")/",),
    ),
    # <password>value</password>
    (
        rf"<(?i:[\w.:-]{{0,64}}{_ASSIGNED}|token)(?:\s[^<>]{{0,256}})?>\s{{0,64}}(?:<!\[CDATA\[)?"
        r"(?P<secret>(?!\[REDACTED\])[^\s<>][^<>]{0,1023})(?:\]\]>\s{0,64})?</",
        ("</",),
    ),
    # key=value, in DSNs, query strings and logs; the value of a quoted key; key: value
    (
        rf"(?i:{_ASSIGNED})\\{{0,7}}[\"']?[ \t]{{0,8}}:?=(?!=)[ \t]{{0,8}}{_VALUE}",
        _ASSIGNED_ANCHORS,
    ),
    (
        r"(?i)(?:[?&;](?:token|key|sig|signature|x-amz-signature|code(?!=\d{1,5}(?!\w)))"
        r"|(?<![\w-])token)="
        rf"{_VALUE}",
        ("token=", "key=", "sig=", "signature=", "code="),
    ),
    (
        rf"(?i:[\"'][\w-]{{0,64}}(?:{_ASSIGNED}|{_QUOTED})\\{{0,7}}[\"']\s*:\s*){_VALUE}",
        (*_ASSIGNED_ANCHORS, "cookie", "credential", "jwt"),
    ),
    (
        r"(?i:(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:password|passwd|passphrase|pwd|api[_-]?key|secret[_-]key"
        r"|access[_-]?key|client[_-]?secret|(?:auth|access|refresh)[_-]token))"
        r"""\s*:\s*\\{0,7}["']?"""
        r"""(?P<secret>(?!\[REDACTED\])(?!\d\d?:\d\d\b)(?=[^\s"']*[\d!@#$%^&*+])[^\s"'\\,;]{4,})""",
        _ASSIGNED_ANCHORS,
    ),
)

# 13 to 19 digits in the shapes that issuers print, checked by Luhn. Told apart by prefix and
# length, so that timestamps in milliseconds (13) and nanoseconds (19) are none of them. Groups with
# a space between them do not begin in the middle of a longer row of numbers.
_CARD: Final = (
    r"(?<![\w.+-])(?:(?=[0-9]{13})|(?<![0-9]{4}[ -][0-9]{4}[ -]))(?P<card>"
    r"(?:4[0-9]{3}|5[1-5][0-9][0-9]|2[2-7][0-9][0-9]|6(?:011|5[0-9][0-9]|4[4-9][0-9]|2[0-9][0-9]|7[0-9][0-9])|35[0-9][0-9]|50[0-9][0-9])"
    r"(?P<_s>[ -]?)[0-9]{4}(?P=_s)[0-9]{4}(?P=_s)[0-9]{4}(?:(?P=_s)[0-9]{3})?"
    r"|3[47][0-9][0-9](?P<_a>[ -]?)[0-9]{6}(?P=_a)[0-9]{5}"
    r"|3(?:0[0-5]|[68][0-9])[0-9](?P<_d>[ -]?)[0-9]{6}(?P=_d)[0-9]{4}"
    r"|4[0-9]{12}"
    r")(?![\w-]|\.[0-9])"
)

DEFAULT_PATTERNS: Final[tuple[str, ...]] = (*(pattern for pattern, _ in _ANCHORED), _CARD)
"""
Regular expressions. A group named `secret` is what is hidden, else the whole match; a group named
`card` must pass the Luhn checksum, one named `basic` must decode to `user:password`.
"""

_ANCHORS: Final = dict(_ANCHORED)

# Provider keys stand in runs of characters without a space, and prose has few long ones.
_SHORTEST_RUN: Final = 13
_RUN: Final = b"a" * _SHORTEST_RUN
_MAX_RUNS: Final = 32
_LONGEST_CARD: Final = len("0000-0000-0000-0000-000")
_HEXADECIMAL: Final = b"0123456789abcdef-"  # every prefix has something else in it
_IN_RUN: Final = frozenset(f"{chr(c)}" for c in range(128) if chr(c).isalnum()) | set("_-./+~=")
_RUNS: Final = bytes(ord("a") if chr(i) in _IN_RUN else ord(" ") for i in range(256))
_DIGIT_RUN: Final = b"0" * 13
_SPACED_DIGITS: Final = b"0000 0000"
_DIGITS: Final = bytes(48 if chr(i) in "0123456789" else i if i == 32 else 46 for i in range(256))

# Words are searched in lower case. For some it is known what must stand around them.
# In texts, not in bytes: there `in` first takes the word for a number, at ten times the cost.
_WORDS: Final = ("basic", "-----begin")
_BEARER: Final = "bearer"  # and the token is a long run
_QUERY: Final = ("token=", "key=", "sig=", "signature=", "code=", ")/")
_CLOSING: Final = "</"
_CLOSES: Final = r"""\\*["']\s*:"""
_ASSIGNS: Final = r"(?:[_-]?id)?[^=:\w]*[=:]"


def _behind(word: str, *before: str) -> str:
    """*word* right behind one of *before*, joined as names are."""
    ends = (f"(?<={first}{joint}{word})" for first in before for joint in ("", "_", "-"))
    return f"{word}(?:{'|'.join(ends)})"


_AROUND: Final = {
    "pass": f"(?:passw(?:or)?d|passphrase|(?<![a-z])pass){_ASSIGNS}",
    "pwd": f"pwd{_ASSIGNS}",
    "secret": f"secret{_ASSIGNS}",
    "authorization": f"authorization{_ASSIGNS}",
    "key": _behind("key", "api", "account", "private", "secret", "access") + _ASSIGNS,
    "token": "(?:"
    + _behind("token", "auth", "access", "refresh", "session", "id", "bearer", "api")
    + rf"{_ASSIGNS}|token{_CLOSES})",
    "cookie": rf"cookies?(?:{_CLOSES}|\s*:)",
    "credential": f"credentials?{_CLOSES}",
    "jwt": f"jwt{_CLOSES}",
    "://": r"""://[^\s:/?#@"'<>\\]*:[^\s/"'<>\\]*@""",
}


def _long_runs(data: bytes, runs: bytes, start: int) -> bytes:
    """
    The long runs of *data*; all of it if there are many.

    *runs* is its translation, *start* where the first one begins. UUIDs, digests and the like are
    left out: hexadecimal and longer than a card, they hold neither a prefix nor a card.
    """
    found: list[bytes] = []
    for _ in range(_MAX_RUNS):
        if start < 0:
            return b" ".join(found)
        end = runs.find(b" ", start + _SHORTEST_RUN)
        if end < 0:
            end = len(data)
        run = data[start:end]
        if len(run) <= _LONGEST_CARD or run.translate(None, _HEXADECIMAL):
            found.append(run)
        start = runs.find(_RUN, end)
    return data


def _luhn(number: str) -> bool:
    digits = [int(c) for c in number if c.isdigit()]
    doubled = (d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _user_and_password(encoded: str) -> bool:
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return False
    try:
        return b":" in decoded and decoded.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _words(key: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", key)]


class Redactor:
    """
    Decides what is a secret. Immutable but for a bounded memory of keys; safe from any thread.

    *keys* hide a value when its key ends with one of them: `api_key` hides `OPENAI_API_KEY`,
    `openaiApiKey` and `x-api-key`, not `api_key_name`; `password` hides wherever it is a word,
    `token` not in `next_token` or `eos_token`.
    *patterns* are regular expressions, see `DEFAULT_PATTERNS`. Raises `re.error` on a bad one.
    """

    def __init__(
        self, keys: Sequence[str] = DEFAULT_KEYS, patterns: Sequence[str] = DEFAULT_PATTERNS
    ) -> None:
        self._keys = frozenset("".join(_words(key)) for key in keys) - {""}
        self._long_keys = tuple(key for key in self._keys if len(key) > 4)
        self.known_keys: dict[str, bool] = {}  # what `hides` said, for those who look first
        self.custom: list[re.Pattern[str]] = []
        """Patterns that are not ours: nothing is known of them, so they are always tried."""
        self._patterns: list[re.Pattern[str]] = []
        self._by_anchor: dict[str, list[int]] = {}
        self._card: re.Pattern[str] | None = None
        for pattern in patterns:
            compiled = re.compile(pattern)
            if pattern == _CARD:
                self._card = compiled
            elif pattern in _ANCHORS:
                for anchor in _ANCHORS[pattern]:
                    self._by_anchor.setdefault(anchor, []).append(len(self._patterns))
                self._patterns.append(compiled)
            else:
                self.custom.append(compiled)
        has = self._by_anchor.__contains__
        self._words = tuple(filter(has, _WORDS))
        self._query = tuple(filter(has, _QUERY))
        self._bearer = tuple(filter(has, (_BEARER,)))
        self._around = [(w, re.compile(_AROUND[w], re.ASCII).search) for w in filter(has, _AROUND)]
        self._closing = tuple(filter(has, (_CLOSING,)))
        known = {*_WORDS, *_QUERY, *_AROUND, _BEARER, _CLOSING}
        prefixes = [re.escape(a).encode() for a in self._by_anchor if a not in known] or [b"(?!)"]
        self._has_prefix = re.compile(b"|".join(prefixes)).search
        self._prefixes = re.compile(b"(?=(%s))" % b"|".join(prefixes)).findall  # may overlap

    def hides(self, key: str) -> bool:
        """Whether the value of *key* is hidden."""
        known = self.known_keys.get(key)
        if known is None:
            known = self._decide(key)
            # A key that is itself a secret stays unknown, so that it is searched each time.
            if len(self.known_keys) < 4096 and len(key) < 256 and not self.redact(key)[1]:
                self.known_keys[key] = known
        return known

    def _decide(self, key: str) -> bool:
        words = _words(key[-256:])
        if not words:
            return False
        last_two = "".join(words[-2:])
        if last_two in _NO_SECRETS:
            return last_two in self._keys
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

    def suspects(self, text: str) -> list[re.Pattern[str]]:
        """The default patterns that may match in *text*; none for nearly all text."""
        data = text.encode("utf-8", "replace")
        lower = data.lower().decode("latin-1")  # so that a search is one of bytes for any text
        anchors: list[str] = []
        for word in self._words:
            if word in lower:
                anchors.append(word)  # noqa: PERF401 - there are two; a comprehension costs more
        if ":" in text or "=" in text:
            anchors += [word for word, around in self._around if word in lower and around(lower)]
            anchors += [word for word in self._query if word in lower]
        if "<" in text and _CLOSING in text:
            anchors += self._closing
        runs = data.translate(_RUNS)
        digits = b""
        start = runs.find(_RUN)
        if start >= 0:
            digits = in_runs = _long_runs(data, runs, start)
            if in_runs and self._has_prefix(in_runs):
                anchors += [prefix.decode() for prefix in self._prefixes(in_runs)]
            if _BEARER in lower:
                anchors += self._bearer
        found: list[re.Pattern[str]] = []
        if anchors:
            which = {index for anchor in anchors for index in self._by_anchor[anchor]}
            found = [self._patterns[index] for index in sorted(which)]
        if self._card is not None:
            if data.translate(_DIGITS).find(_SPACED_DIGITS) >= 0:
                digits = data
            if digits and _DIGIT_RUN in digits.translate(_DIGITS, b" -"):
                found.append(self._card)
        return found

    def redact(
        self, text: str, patterns: Sequence[re.Pattern[str]] | None = None
    ) -> tuple[str, int]:
        """*text* without its secrets, and how many there were."""
        if patterns is None:
            patterns = self.suspects(text)
            if self.custom:
                patterns += self.custom
        if not patterns:
            return text, 0
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

        for pattern in patterns:
            text = pattern.sub(hide, text)
        return text, count
