"""Shapes of answers: what is kept of them, and when two are the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.aws.shapes import Seen, compare, shape_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def seen(body: Any, status: int = 200, **headers: str) -> Seen:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Seen(status, headers=told, body=shape_of(body))


def test_a_shape_holds_keys_and_types_and_nothing_of_the_values() -> None:
    secret = "AKIA-s3cret"
    told = {"dags": [{"dag_id": secret, "n": 1, "tags": []}, {"dag_id": "b", "x": None}], "t": 2.5}
    assert shape_of(told) == {
        "dags": [{"dag_id": "text", "n": "number", "tags": [], "x": "null"}],
        "t": "number",
    }
    assert shape_of({"Tags": {secret: secret}, "conf": {secret: 1}}) == {
        "Tags": "object",
        "conf": "object",
    }


@given(VALUES)
def test_every_answer_agrees_with_itself(value: Any) -> None:
    assert compare("x", seen(value), seen(value)).verdict == "agrees"


@given(st.lists(VALUES, max_size=3))
def test_a_list_agrees_with_itself_in_any_order(values: list[Any]) -> None:
    assert compare("x", seen(values), seen(values[::-1])).verdict == "agrees"


@pytest.mark.parametrize(
    ("aws", "local", "differs", "more"),
    [
        ({"a": 1, "new": 2}, {"a": 2}, (), ("body.new: only on AWS",)),
        ({"a": 1}, {"a": 2, "b": "x"}, ("body.b: only here",), ()),
        ({"a": 1}, {"a": 2, "b": None}, (), ("body.b: left out on AWS, null here",)),
        ({"a": None}, {"a": 2}, (), ()),
        ({"a": "1"}, {"a": 1}, ("body.a: text on AWS, number here",), ()),
        ([], [{"a": 1}], (), ()),
        ([{"a": [1]}], [{"a": {}}], ("body[].a: a list on AWS, an object here",), ()),
    ],
)
def test_what_differs_is_named_with_its_place(
    aws: Any, local: Any, differs: tuple[str, ...], more: tuple[str, ...]
) -> None:
    found = compare("x", seen(aws), seen(local))
    assert (found.differs, found.more) == (differs, more)


def test_status_code_and_headers_are_compared_too() -> None:
    one = Seen(400, "ValidationException", {"content-type": "text/plain"})
    other = Seen(400, "ValidationException", {"content-type": "application/json"})
    assert compare("x", one, other).verdict == "differs"
    assert compare("x", Seen(403), Seen(404)).differs == ("status: 403 on AWS, 404 here",)


def test_what_could_not_be_asked_is_no_verdict() -> None:
    found = compare("x", Seen(why_not="access is denied"), seen({}))
    assert (found.verdict, found.differs) == ("not tried", ())
