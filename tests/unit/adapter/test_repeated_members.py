"""Members that are given twice: they are refused with their places, in short texts and long ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.message_from_json import from_json
from gateway.adapter.repeated_members import refuse_repeated
from gateway.concurrency.time_slice import in_slices
from gateway.core.errors import InvalidParams
from gateway.core.json_parts import LONG_TEXT
from runs.v1 import runs_pb2


class Turns:
    """Lets nobody else work."""

    async def checkpoint(self) -> None:
        pass


LONG = f'"flowId":"{"x" * LONG_TEXT}"'
TWICE = [
    ('"wait":true,"wait":false', "wait"),
    ('"wait":true, "wa\\u0069t" :false', "wait"),
    ('"inputs":[{"json":"1"}],"inputs":[]', "inputs"),
    ('"inputs":[{"json":"1"},{"json":"2","json":"3"}]', "inputs[1].json"),
    ('"inputs":[{"value":{"a":[0,{"b":1,"b":1}]}}]', "inputs[0].value.a[1].b"),
    ('"labels":{"a":"1","b":"2","a":"1"}', "labels.a"),
    ('"variables":{"a":{"json":"1"},"a":{"json":"1"}}', "variables.a"),
]
ONCE = [
    '"wait":true,"labels":{"wait":"wait"}',
    '"inputs":[{"json":"{\\"a\\":1,\\"a\\":2}"},{"json":"1"}]',
    '"inputs":[{"value":{"a":{"a":[{"a":1},{"a":1}]},"b":{"a":1}}}]',
]

NAMES = st.sampled_from(['"a"', ' "b" ', '"\\\\"', '"{:"', '"\\""'])
SCALARS = st.sampled_from(["1", " null", '"}"', '"a:1,"', '"\\\\\\""', "true ", "-1.5e3"])
JSON = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
        st.lists(st.builds("{}:{}".format, NAMES, inside), max_size=3).map(lambda parts: f"{{{' ,'.join(parts)}}}"),
    ),
)
LISTED = '{"inputs":[%s,{"json":"1","json":"1"}]}'
INSIDE = '{"inputs":[{"value":{%s,%s}}]}'


async def read(text: str) -> bytes:
    return await from_json(text.encode(), runs_pb2.SubmitRunRequest, Turns(), lambda _: None)


@pytest.mark.parametrize("form", ["{%s}", "{" + LONG + ",%s}", "{%s," + LONG + "}"])
@pytest.mark.parametrize(("members", "place"), TWICE)
async def test_a_member_may_be_there_once(form: str, members: str, place: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await read(form % members)
    assert refused.value.message == f"{place}: is there twice"


@pytest.mark.parametrize("form", ["{%s}", "{" + LONG + ",%s}"])
@pytest.mark.parametrize("members", ONCE)
async def test_the_same_name_elsewhere_is_another_member(form: str, members: str) -> None:
    await read(form % members)


@pytest.mark.parametrize("times", [3, 20_000])
async def test_places_in_long_arrays_and_objects(times: int) -> None:
    inputs = ",".join(['{"json":"1"}'] * times)
    with pytest.raises(InvalidParams, match=rf"^inputs\[{times}\]\.json: is there twice$"):
        await read(LISTED % inputs)
    members = ",".join(f'"{number}":[{{"a":1}}]' for number in range(min(times, 9_000)))
    with pytest.raises(InvalidParams, match=r"^inputs\[0\]\.value\.x\[1\]\.a: is there twice$"):
        await read(INSIDE % (members, '"x":[0,{"a":1,"a":1}]'))
    with pytest.raises(InvalidParams, match=r"^inputs\[0\]\.value\.0: is there twice$"):
        await read(INSIDE % (members, '"0":[]'))


@given(st.lists(JSON, max_size=6).map(lambda parts: f"[{','.join(parts)}]"))
def test_no_text_with_a_member_twice_is_taken_for_one_without(text: str) -> None:
    twice = False

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal twice
        twice |= len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=note)
    try:
        list(refuse_repeated(text.encode(), ()))
    except InvalidParams:
        assert twice
    else:
        assert not twice


async def test_it_is_done_in_steps() -> None:
    turns = 0

    class Counted(Turns):
        async def checkpoint(self) -> None:
            nonlocal turns
            turns += 1

    await in_slices(refuse_repeated(b"[%b]" % b",".join([b'{"a":1,"b":1}'] * 1_000), ()), Counted())
    assert turns > 50
