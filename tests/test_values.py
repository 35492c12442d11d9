"""Payloads: bounded, valid JSON, without secrets; nothing of the application is run for them."""

from __future__ import annotations

import base64
import dataclasses
import enum
import hashlib
import json
import random
import uuid
from typing import Any

import numpy
import pandas
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowspan._payload import Payloads
from flowspan._redaction import Redactor

PAYLOADS = Payloads(Redactor(), 4096)

SECRETS = {
    "openai": "sk-proj-abcDEF1234567890abcDEF1234567890",
    "anthropic": "sk-ant-api03-abcDEF1234567890_abcDEF1234567890",
    "google": "AIza" + "Sy1234567890abcdefghijklmnopqrstuvw",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "hugging face": "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "langfuse": "sk-lf-5f0c8a9e-1f2b-4c3d-9e8f-aabbccddeeff",
    "bearer": "Bearer abcDEF1234567890abcDEF",
    "basic": "Basic " + base64.b64encode(b"user:hunter2").decode(),
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.abcDEF123-_",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "url": "postgresql://bot:hunter2@db.example.com:5432/flows",
    "dsn": "Server=db;User Id=bot;Password=hunter2;Encrypt=yes",
    "card": "4111 1111 1111 1111",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("shape", ["{}", "before {} after", "('{}',)", "line\n{}\nline"])
def test_a_secret_is_hidden_in_text_and_json(kind: str, shape: str):
    """Alone, in prose, in a repr and on a line of its own."""
    secret = SECRETS[kind]
    telling = {"url": "hunter2", "dsn": "hunter2"}.get(kind, secret.split(" ", 1)[-1][-12:])

    for value in (shape.format(secret), {"note": [shape.format(secret)]}):
        payload = PAYLOADS.freeze(value)

        assert telling not in payload.text
        assert "[REDACTED]" in payload.text
        assert payload.redacted >= 1


@pytest.mark.parametrize(
    "key", ["password", "OPENAI_API_KEY", "openaiApiKey", "x-api-key", "Authorization", "db_token"]
)
def test_the_value_of_a_secret_key_is_hidden(key: str):
    """Whatever the case and the separators, and whatever the value is."""
    for value in ("hush", 12345, ["hush"], {"a": "hush"}):
        assert json.loads(PAYLOADS.freeze({key: value}).text) == {key: "[REDACTED]"}


@pytest.mark.parametrize("key", ["max_tokens", "token_count", "api_key_name", "author", "monkey"])
def test_a_harmless_key_is_not(key: str):
    """Keys that only sound alike."""
    assert json.loads(PAYLOADS.freeze({key: 5}).text) == {key: 5}


PROSE = """
the token bearer asked a basic question about secret gardens and password policies
while risk-based task-force members authorized Asia trips; key: value, code review.
your password: choose it well and see https://example.com/a?b=c at 12:30
"""


def test_no_false_hits():
    """UUIDs, trace ids, hashes, timestamps and prose: thousands of them, all as they were."""
    rng = random.Random(7)
    words = PROSE.split()
    for _ in range(3000):
        number = rng.getrandbits(128)
        for text in (
            str(uuid.UUID(int=number)),
            f"{number:032x}",
            f"{number >> 64:016x}",
            hashlib.sha256(number.to_bytes(16, "big")).hexdigest(),
            str(1_700_000_000_000 + number % 10**11),
            str(1_700_000_000_000_000_000 + number % 10**17),
            " ".join(rng.choices(words, k=12)),
        ):
            assert PAYLOADS.freeze(text).text == text
            assert json.loads(PAYLOADS.freeze({"id": text}).text) == {"id": text}


def test_a_number_that_is_no_card_stays():
    """One digit off fails the checksum."""
    assert PAYLOADS.freeze({"n": "4111111111111112"}).redacted == 0
    assert PAYLOADS.freeze({"n": 4111111111111111}).redacted == 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 9000), st.sampled_from(["text", "item", "list"]))
def test_a_cut_never_halves_a_secret(offset: int, shape: str):
    """Wherever it stands in what is too long."""
    secret = SECRETS["anthropic"]
    text = ("word " * 2000)[:offset] + " " + secret + " word" * 2000
    value: Any = {"text": text, "item": {"a": text}, "list": [text] * 5}[shape]

    payload = PAYLOADS.freeze(value)

    assert payload.truncated
    assert "sk-ant" not in payload.text


class Evil:
    """Everything that can be asked of it ends the process."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit

    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = __getattribute__  # type: ignore[assignment]


class EvilDict(dict):  # type: ignore[type-arg]
    items = keys = values = __iter__ = __len__ = __getitem__ = Evil.__getattribute__  # type: ignore[assignment]


@dataclasses.dataclass(slots=True)
class Slots:
    a: int
    b: object


class Model(pydantic.BaseModel):
    a: int
    secret: pydantic.SecretStr


class Colour(enum.Enum):
    RED = "red"


def cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"d": found}
    return found


WILD: dict[str, Any] = {
    "evil": Evil(),
    "evil dict": EvilDict(a=1),
    "cycle": cycle(),
    "deep": nested(5000),
    "wide": {str(i): "x" * 100 for i in range(100_000)},
    "long": "x" * 10_000_000,
    "items": list(range(1_000_000)),
    "frame": pandas.DataFrame({"a": numpy.arange(1_000_000), "password": "hush"}),
    "series": pandas.Series(range(1_000_000)),
    "array": numpy.zeros((1000, 1000)),
    "objects": numpy.array([None, {"password": "hush"}], dtype=object),
    "numbers": [float("nan"), float("inf"), 10**30, 10**5000, numpy.float32(1.5)],
    "bytes": [b"text", b"\xff\x00", bytearray(b"a")],
    "surrogates": {"\ud800": ["\udfff", "é"]},
    "keys": {("a", 1): 1, None: 2, 3: 4, Evil: 5},
    "file": open(__file__),  # noqa: SIM115 - closed by the test
    "error": ValueError("bad", Evil()),
    "types": [Evil, int, Colour.RED, Slots(1, Evil()), {1, 2}, uuid.UUID(int=1)],
}


@pytest.mark.parametrize("name", WILD)
def test_wild_values(name: str):
    """Never an exception, valid JSON, never longer than allowed."""
    payload = PAYLOADS.freeze(WILD[name])

    assert len(payload.text.encode()) <= 4096
    if payload.mime_type == "application/json":
        json.loads(payload.text)
    assert "hush" not in payload.text
    if name == "file":
        WILD[name].close()


def test_what_is_shown_of_wild_values():
    """Stored fields, previews and names; properties are not run."""
    shown = {
        "model": json.loads(PAYLOADS.freeze(Model(a=1, secret="hush")).text),
        "slots": json.loads(PAYLOADS.freeze(Slots(1, Colour.RED)).text),
        "frame": json.loads(PAYLOADS.freeze(pandas.DataFrame({"a": [1, 2]})).text),
        "evil": json.loads(PAYLOADS.freeze([Evil()]).text),
    }

    assert shown == {
        "model": {"a": 1, "secret": "[REDACTED]"},
        "slots": {"a": 1, "b": "red"},
        "frame": {"type": "DataFrame", "rows": 2, "columns": 1, "preview": [{"a": 1}, {"a": 2}]},
        "evil": [f"<{__name__}.Evil>"],
    }


def tree(value: Any) -> Any:
    return json.loads(PAYLOADS.freeze(value).text)


INDEX = pandas.MultiIndex.from_tuples([("u", "name"), ("u", "password")])
DAYS = pandas.date_range("2026-01-01", periods=2)
FRAMES = {
    "numbered columns": (pandas.DataFrame([[1, 2]]), [{"0": 1, "1": 2}]),
    "levels of columns": (
        pandas.DataFrame([["bob", "hush"]], columns=INDEX),
        [{'["u","name"]': "bob", '["u","password"]': "[REDACTED]"}],
    ),
    "columns of one name": (pandas.DataFrame([[1, 2]], columns=["a", "a"]), [{"a": 1, "a#2": 2}]),
    "labelled rows": (
        pandas.DataFrame({"value": ["bob", "hush"]}, index=["user", "password"]),
        {"user": {"value": "bob"}, "password": "[REDACTED]"},
    ),
    "days": (
        pandas.Series([1, 2], index=DAYS),
        {"2026-01-01T00:00:00": 1, "2026-01-02T00:00:00": 2},
    ),
    "an index": (INDEX, [["u", "name"], ["u", "password"]]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_data_frame_is_shown_by_its_labels(name: str):
    """Each by a text of its own; a label that names a secret hides what stands under it."""
    frame, preview = FRAMES[name]

    assert tree(frame)["preview"] == preview


def test_a_structured_array_is_shown_by_its_fields():
    """An array, and one of its rows."""
    array = numpy.array([("bob", "hush")], dtype=[("user", "U10"), ("password", "U10")])

    assert tree(array) == {"user": ["bob"], "password": "[REDACTED]"}
    assert tree(array[0]) == {"user": "bob", "password": "[REDACTED]"}


class Plain:
    pass


LONG = "x" * 600


def test_keys_that_read_alike_are_numbered():
    """None takes the place of another: numbers, objects, long keys, keys that are secrets."""
    texts = [
        ({1: "a", "1": "b"}, ["1", "1#2"]),
        ({"1": "b", 1: "a", numpy.int64(2): "c", numpy.int64(3): "d"}, ["1", "1#2", "2", "3"]),
        (dict.fromkeys(DAYS, 1), ["2026-01-01T00:00:00", "2026-01-02T00:00:00"]),
        ({Plain(): 1, Plain(): 2}, [f"<{__name__}.Plain>", f"<{__name__}.Plain>#2"]),
        ({LONG + "1": 1, LONG + "2": 2}, [LONG[:256] + "…", LONG[:256] + "…#2"]),
        ({SECRETS["aws"]: 1, SECRETS["google"]: 2}, ["[REDACTED]", "[REDACTED]#2"]),
    ]

    assert [list(tree(value)) for value, _ in texts] == [keys for _, keys in texts]


class Equal(type):
    """Its classes have no hash and are equal to everything."""

    def __eq__(cls, other: object) -> bool:
        return True


class Odd(metaclass=Equal):
    pass


def test_a_class_without_a_hash_is_named():
    assert tree([Odd()]) == [f"<{__name__}.Odd>"]


def test_what_finds_no_room_is_not_looked_at(monkeypatch):
    """Of thousands of data frames only those that are shown are read; of bytes as well."""
    read: list[int] = []
    monkeypatch.setattr(
        pandas.DataFrame, "shape", property(lambda frame: read.append(1) or (len(frame.index), 1))
    )
    frame = pandas.DataFrame({"a": [1]})

    shown = Payloads(Redactor(), 4096).freeze([frame] * 990)

    assert shown.truncated
    assert len(read) < 10
    assert tree([b"x" * 4000] * 900)[-2] == "<4000 bytes>"


def test_outputs_that_are_merged_count_what_both_hide():
    """What is given anew counts as it is now."""
    first = PAYLOADS.freeze({"password": "hush"})

    assert PAYLOADS.freeze({"api_key": "hush"}, first).redacted == 2
    assert PAYLOADS.freeze({"password": "hush!"}, first).redacted == 1


def test_generators_and_coroutines_are_not_consumed():
    """They are named; whoever made them can still use them."""

    async def later() -> int:
        return 1

    items, awaitable = iter([1, 2]), later()
    counting = (i for i in range(3))

    PAYLOADS.freeze([items, awaitable, counting])

    assert list(items) == [1, 2]
    assert list(counting) == [0, 1, 2]
    awaitable.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(st.characters(exclude_categories=()), max_size=8), inner)
    ),
    max_leaves=40,
)


@settings(max_examples=200, deadline=None)
@given(JSON, st.integers(1, 4096))
def test_any_value_is_valid_json_within_its_bound(value: Any, max_bytes: int):
    """Whatever is in it."""
    payload = Payloads(Redactor(), max_bytes).freeze(value)

    assert len(payload.text.encode()) <= max_bytes
    if payload.mime_type == "application/json":
        json.loads(payload.text)


def test_redaction_inside_a_json_string_keeps_it_json():
    """Arguments of a tool arrive as JSON in a string: the quotes stay."""
    inner = json.dumps({"api_key": 'hu"sh', "a": 1})

    payload = PAYLOADS.freeze({"arguments": inner})

    assert json.loads(json.loads(payload.text)["arguments"]) == {"api_key": "[REDACTED]", "a": 1}
