"""What earlier releases wrote for the engine is read: these texts never change, and there may be more of them."""

from typing import Any

import msgspec
import pytest

from gateway.runtimes.temporal.messages import (
    CancelRequest,
    Carried,
    ChunkDone,
    Inputs,
    ItemCounts,
    KeptResult,
    ResultsPart,
    RunEnd,
    RunReport,
    RunResult,
)

TEXTS = (
    (KeptResult, '[0,"1",5]'),
    (KeptResult, '[1,null,5,-32603,"internal error",null,null]'),
    (ResultsPart, '[0,1,1,0,33,[[0,"1",5]]]'),
    (ResultsPart, '[0,9,9,0,400,null,"runs/ab/x/chunk-0-cd",null]'),
    (Inputs, '{"texts":["1"]}'),
    (Inputs, '{"starts":[0,5]}'),
    (Carried, '{"revision":1,"started_at":5,"following":3,"prefix":2,"rest":[[1,2]],"done":[[2,3]],"parts":[]}'),
    (ChunkDone, '{"rest":3}'),
    (ChunkDone, '{"rest":1,"part":[0,1,1,0,33,[[0,"1",5]]],"seconds":0.5}'),
    (CancelRequest, "{}"),
    (CancelRequest, '{"reason":"enough"}'),
    (ItemCounts, "[1,2,3,4]"),
    (RunReport, '{"state":"running","revision":1,"counts":[1,0,0,0],"prefix":0,"completions":0,"started_at":5}'),
    (RunEnd, '{"state":"success","revision":1,"counts":[0,1,0,0],"started_at":5,"completed_at":6}'),
    (
        RunResult,
        '{"ended":{"state":"success","revision":1,"counts":[0,1,0,0],"started_at":5,"completed_at":6},"parts":[]}',
    ),
)


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_texts_of_earlier_releases_are_read(kind: type[Any], text: str) -> None:
    assert isinstance(msgspec.json.decode(text, type=kind), kind)
