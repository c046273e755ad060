"""What earlier releases wrote for the engine is read: these texts never change, and there may be more of them."""

from typing import Any

import msgspec
import pytest

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal import messages
from gateway.runtimes.temporal.messages import (
    CancelRequest,
    Carried,
    ChunkDone,
    ChunkSplit,
    Inputs,
    ItemChunk,
    ItemCounts,
    KeptResult,
    NestedToCancel,
    PartsToKeep,
    ResultsPart,
    RunEnd,
    RunReport,
    RunResult,
    StartRun,
)

RECORD = '["r-1","sha256:ab",null,null,2,null,null,"{}",null,"",null,"",5]'
FULL_RECORD = (
    '["r-1","sha256:ab","name","label",2,3,"{\\"a\\":1}","{\\"b\\":2}","{\\"c\\":3}","scope","key","print",5,'
    '1,"r-0","r-9","{\\"d\\":\\"e\\"}",6,"[\\"team\\"]"]'
)
PARTS = '[[0,1,1,0,33,[[0,"1",5]]],[1,9,8,1,400,null,"runs/ab/x/part-1-cd"]]'

TEXTS = (
    (KeptResult, '[0,"1",5]'),
    (KeptResult, '[1,null,5,-32603,"internal error",null,null]'),
    (ResultsPart, '[0,1,1,0,33,[[0,"1",5]]]'),
    (KeptResult, '[1,null,5,-32000,"no","{}","bG9n"]'),
    (ResultsPart, '[0,9,9,0,400,null,"runs/ab/x/chunk-0-cd",null]'),
    (ResultsPart, '[0,9,9,0,400,null,"runs/ab/x/index-0-cd",null,true]'),
    (ResultsPart, "[2,3,1,0,0,null,null,7,false]"),
    (Inputs, '{"texts":["1"]}'),
    (Inputs, '{"starts":[0,5]}'),
    (Inputs, '{"starts":[0,5],"token":"ef"}'),
    (Carried, '{"revision":1,"started_at":5,"following":3,"prefix":2,"rest":[[1,2]],"done":[[2,3]],"parts":[]}'),
    (
        Carried,
        '{"revision":1,"started_at":5,"following":9,"prefix":2,"rest":[[1,2]],"done":[[2,3]],'
        f'"parts":{PARTS},"nested":true}}',
    ),
    (RunRecord, RECORD),
    (RunRecord, FULL_RECORD),
    (StartRun, f'{{"record":{RECORD},"inputs":{{"texts":["1","2"]}}}}'),
    (
        StartRun,
        f'{{"record":{FULL_RECORD},"inputs":{{"starts":[0,1],"token":"ef"}},"has_parameters":true,'
        f'"carried":{{"revision":1,"started_at":5,"following":9,"prefix":9,"parts":{PARTS}}},'
        '"pace":2.5,"timeout_reason":"late"}',
    ),
    (ItemChunk, f'{{"record":{RECORD},"start":0,"stop":1,"inputs":{{"texts":["1"]}},"inline":8192}}'),
    (
        ItemChunk,
        f'{{"record":{RECORD},"start":1,"stop":2,"inputs":{{"starts":[0],"token":"ef"}},"inline":8192,'
        '"has_parameters":true}',
    ),
    (PartsToKeep, f'{{"run_id":"r-1","place":0,"parts":{PARTS}}}'),
    (NestedToCancel, '{"run_id":"r-1","root_id":"r-0"}'),
    (NestedToCancel, '{"run_id":"r-1","root_id":"r-0","reason":"enough"}'),
    (ChunkDone, '{"rest":3}'),
    (ChunkDone, '{"rest":1,"part":[0,1,1,0,33,[[0,"1",5]]],"seconds":0.5}'),
    (ChunkDone, '{"rest":0,"nested":true}'),
    (ChunkSplit, '{"start":3,"at":3,"seconds":1.5}'),
    (ChunkSplit, '{"start":0,"at":1,"part":[0,1,1,0,33,[[0,"1",5]]],"seconds":1.5}'),
    (CancelRequest, "{}"),
    (CancelRequest, '{"reason":"enough"}'),
    (CancelRequest, '{"reason":"enough","inside":true}'),
    (ItemCounts, "[1,2,3,4]"),
    (RunReport, '{"state":"running","revision":1,"counts":[1,0,0,0],"prefix":0,"completions":0,"started_at":5}'),
    (
        RunReport,
        '{"state":"running","revision":1,"counts":[1,0,0,0],"prefix":0,"completions":9,"started_at":5,'
        f'"place":1,"parts":{PARTS},"more":true,"cancelling":true,"executing":[[9,12]],"split":[[7,9]]}}',
    ),
    (
        RunEnd,
        '{"state":"cancelled","revision":1,"counts":[0,1,0,1],"started_at":5,"completed_at":6,"cancel_reason":"late"}',
    ),
    (RunEnd, '{"state":"success","revision":1,"counts":[0,1,0,0],"started_at":5,"completed_at":6}'),
    (
        RunResult,
        '{"ended":{"state":"success","revision":1,"counts":[0,1,0,0],"started_at":5,"completed_at":6},"parts":[]}',
    ),
)


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_texts_of_earlier_releases_are_read(kind: type[Any], text: str) -> None:
    assert isinstance(msgspec.json.decode(text, type=kind), kind)


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_what_is_written_for_earlier_releases_has_the_same_members(kind: type[Any], text: str) -> None:
    """They have the same names or places; there may be more of them."""
    written = msgspec.json.encode(msgspec.json.decode(text, type=kind))
    assert _has(msgspec.json.decode(written), msgspec.json.decode(text))


def _has(value: Any, earlier: Any) -> bool:
    """Whether a value has all that an earlier one had. What is empty may be left out."""
    if isinstance(earlier, dict):
        return all(_has(value[name], earlier[name]) if name in value else not earlier[name] for name in earlier)
    if isinstance(earlier, list):
        return len(value) >= len(earlier) and all(map(_has, value, earlier))
    return type(value) is type(earlier) and bool(value == earlier)


def test_there_are_texts_of_each_message_and_each_member() -> None:
    kinds = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    kinds.remove(msgspec.Struct)
    assert {kind for kind, _ in TEXTS} == kinds
    for kind in kinds:
        fields = [field.encode_name for field in msgspec.structs.fields(kind)]
        texts = [msgspec.json.decode(text) for each, text in TEXTS if each is kind]
        shown = {name for text in texts for name in (text if isinstance(text, dict) else fields[: len(text)])}
        assert shown == set(fields)
