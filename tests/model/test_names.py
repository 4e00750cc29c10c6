"""What may be an id or a name, and how names are put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit.model.names import MAX_LENGTH, joined, name_problem, shortened


@pytest.mark.parametrize(
    "name", ["a", "page[0]", "my run", "Überschrift", "名前", "a" * 200, "a/b%2F", "👩‍🚀", "e\u0301"]
)
def test_short_printable_text_is_a_name(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "expected a non-blank name"),
        ("  ", "expected a non-blank name"),
        (" a", "expected no leading or trailing space, got ' a'"),
        ("a\n", "expected no leading or trailing space, got 'a\\n'"),
        ("a\u00a0", "expected no leading or trailing space"),
        ("a" * 201, "expected at most 200 characters, got 201"),
        ("a\0b", "expected no control characters"),
        ("a\tb", "expected no control characters"),
        ("a\x7fb", "expected no control characters"),
        ("a\x85b", "expected no control characters"),
        ("a\u2028b", "expected no control characters"),
        ("a\ud800b", "expected no control characters or surrogates"),
        (None, "expected str, got NoneType"),
        (5, "expected str, got int"),
        (b"a", "expected str, got bytes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(name, problem):
    assert name_problem(name).startswith(problem)


@pytest.mark.parametrize("name", ["a b", "a\u00a0b", "a\u3000b"])
def test_kinds_and_queues_have_no_spaces_at_all(name):
    assert name_problem(name) is None
    assert name_problem(name, spaces=False).startswith("expected no spaces")


@given(st.text())
def test_a_name_can_be_stored_and_shown_on_one_line(name):
    if name_problem(name) is None:
        assert name.encode().decode() == name
        assert len(name.splitlines()) == 1
        assert "\0" not in name


@given(st.text(min_size=1, max_size=400))
def test_a_shortened_id_fits_and_a_short_one_stays(name):
    assert len(shortened(name)) <= MAX_LENGTH
    assert shortened(name) == name or len(name) > MAX_LENGTH


def test_long_ids_that_differ_at_the_end_stay_different():
    one, other = shortened("a" * 300 + "1"), shortened("a" * 300 + "2")
    assert one != other
    assert one.startswith("a" * 150 + "~")
    assert len(one) == 163


PARTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.text("/%2F", max_size=4), max_size=4
)


@given(PARTS.filter(lambda parts: parts != []), PARTS.filter(lambda parts: parts != []))
def test_no_two_lists_of_parts_are_joined_to_one_text(one, other):
    assert (joined(*one) == joined(*other)) == (one == other)


def test_joined_parts_are_encoded_and_may_be_numbers():
    assert joined("a/b", "c d", 3) == "a%2Fb/c%20d/3"
