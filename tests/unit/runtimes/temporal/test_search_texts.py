"""Texts in search attributes are short, and what begins alike still does."""

import json

import pytest

from gateway.core.model import MAX_KEY_LENGTH, MAX_LABELS
from gateway.runtimes.temporal.search_texts import MAX_BYTES, MAX_CHARACTERS, search_label, search_text

LONG = ["n" * 10_000, "é" * 300, "\U0001f600" * 255, "a" + "\n" * 5_000, '"' * 255]


def test_short_texts_stay_as_they_are() -> None:
    for text in ("", "a", "a b='\"\\\n", "é" * 200, "a" * MAX_CHARACTERS):
        assert search_text(text) == text
    assert search_label("team", "search") == "team=search"
    assert search_label("q", "'x' \\") == "q='x' \\"


@pytest.mark.parametrize("text", LONG)
def test_long_texts_keep_their_beginning(text: str) -> None:
    kept = search_text(text)
    assert kept
    assert text.startswith(kept)
    assert len(kept) <= MAX_CHARACTERS
    assert len(json.dumps(kept)) - 2 <= MAX_BYTES
    for length in (1, 100, 170, 254, len(text)):
        assert kept.startswith(search_text(text[:length]))


def test_nothing_follows_a_nul() -> None:
    assert search_text("a\0b") == search_text("a\0") == "a\1"
    assert "\0" not in search_label("a", "b\0c")


def test_long_labels_differ_as_much_as_before() -> None:
    labels = {search_label("n" * length, value) for length in (60, 255) for value in ("", "v", "v" * 255, "é" * 255)}
    assert len(labels) == 8
    assert search_label("n" * 60, "v").startswith("n" * 24 + "#")


def test_there_is_room_for_all_labels_of_a_run() -> None:
    for text in ("n" * MAX_KEY_LENGTH, "\U0001f600" * MAX_KEY_LENGTH, "n" * 25):
        labels = [search_label(f"{number:02}{text}", text) for number in range(MAX_LABELS)]
        assert len(json.dumps(labels)) <= 2_048
