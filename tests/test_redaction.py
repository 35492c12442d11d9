"""The search for secrets: its shortcuts miss nothing."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowspan._payload import Payloads
from flowspan._redaction import DEFAULT_KEYS, DEFAULT_PATTERNS, REPLACEMENT, Redactor

REDACTOR = Redactor()
PIECES = (
    *(
        "sk-",
        "pk-lf-",
        "sk_live_",
        "AIza",
        "ya29.",
        "AKIA",
        "ghp_",
        "github_pat_",
        "xoxb-",
        "xapp-1-",
    ),
    *(
        "hooks.slack.com/services/",
        "hf_",
        "gsk_",
        "SG.",
        "npm_",
        "eyJ",
        "https://",
        "u:p",
        "@h",
        "@",
    ),
    *("authorization", "Authorization: ", "Bearer ", "basic ", "dXNlcjpwdw==", "dXNlcjpw"),
    *(
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "password",
        "pass",
        "PWD",
        "pwd",
        "secret",
        "next_",
        "None",
    ),
    *("<", ">", "</", "@tcp(", ")/", "<password>", "<![CDATA[", "4000 "),
    *("api_key", "apiKey", "access-token", "id_token", "AWS_SECRET_ACCESS_KEY_ID", "key", "token"),
    *(
        "=",
        ": ",
        ":",
        '"',
        '\\"',
        "'",
        "?",
        "&",
        ";",
        " ",
        "\n",
        "\u00a0",
        "\u00e9",
        "-",
        ".",
        ",",
        "x",
    ),
    *(
        "a1B2c3D4e5F6g7H8",
        "0123456789abcdef",
        "4111",
        "4111 1111 1111 1111",
        "378282246310005",
        "/",
    ),
    *("3782 822463 10005", "hunter2!", "deadbeef" * 4),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(max_examples=2000, deadline=None)
@given(TEXTS)
@example("eyJsk-sk-SG.")
def test_the_quick_look_misses_nothing(text: str):
    """What a pattern finds in a text it also finds through the quick look for its anchors."""
    everything = [re.compile(pattern) for pattern in DEFAULT_PATTERNS]

    assert REDACTOR.redact(text) == REDACTOR.redact(text, everything)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_json_and_text_are_searched_alike(text: str):
    """A string inside of JSON loses what it would lose alone."""
    payloads = Payloads(REDACTOR, 65536)

    assert f'"{REPLACEMENT}' not in text
    assert payloads.freeze([text]).redacted == payloads.freeze(text).redacted


def test_a_key_that_is_a_secret_is_hidden_each_time():
    """Keys are remembered; those that hold a secret are not."""
    payloads = Payloads(Redactor(), 4096)
    for _ in range(3):
        payload = payloads.freeze({"sk-abcDEF1234567890abcDEF": 1})

        assert payload.text == '{"[REDACTED]":1}'


def test_patterns_of_ones_own_see_each_string_alone():
    """Anchors mean the string's start and end, keys and strings of any length are searched."""
    payloads = Payloads(Redactor(DEFAULT_KEYS, (r"^\d{5}$", "x")), 4096)

    payload = payloads.freeze({"zip": ["12345", "123456", 12345], "x": "a"})

    assert payload.text == '{"zip":["[REDACTED]","123456",12345],"[REDACTED]":"a"}'
    assert payloads.freeze("12345").text == REPLACEMENT
