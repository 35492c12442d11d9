"""
What the search for secrets costs on text made to slow it down. Half a minute.

For each text: microseconds per KiB at 40 and at 160 KiB, custom patterns aside. A pattern that
backtracked without bound would take four times as long per KiB on the longer text.
"""

from __future__ import annotations

import time

from flowspan._redaction import Redactor

TEXTS = {
    "prose": "The router answers when the light is red, and nobody knows why. ",
    "spaces": " ",
    "letters": "a",
    "dashes": "-",
    "bearers": "bearer ",
    "basics": "basic a",
    "keys begun": "sk-",
    "jwts": "eyJhbGciOi.",
    "private keys": "-----BEGIN RSA PRIVATE KEY-----\n",
    "urls": "http://",
    "passwords in urls": "http://u:",
    "schemes": "a+",
    "assignments": "password=",
    "quoted keys": '"password": "',
    "escaped keys": '\\"password\\": \\"',
    "open quotes": '"api_key',
    "cards": "4111 ",
    "digits": "4",
    "authorizations": "authorization: ",
    "backslashes": "\\",
    "word and spaces": "password" + " " * 50,
}


def microseconds_per_kib(redactor: Redactor, piece: str, kib: int) -> float:
    text = (piece * (kib * 1024))[: kib * 1024]
    best = 1e9
    for _ in range(5):
        start = time.process_time()
        redactor.redact(text)
        best = min(best, time.process_time() - start)
    return best / kib * 1e6


def main() -> None:
    redactor = Redactor()
    print("| text | µs per KiB, 40 KiB | 160 KiB | ratio |\n|---|---|---|---|")
    for name, piece in TEXTS.items():
        short, long = (microseconds_per_kib(redactor, piece, kib) for kib in (40, 160))
        print(f"| {name} | {short:.0f} | {long:.0f} | {long / short:.1f} |")


if __name__ == "__main__":
    main()
