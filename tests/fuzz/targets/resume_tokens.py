"""Resume tokens: a follower with any token gets each result at most once, and nothing is read that is not sent."""

import struct
from typing import Final

from hypothesis import strategies as st

from gateway.core.model import GetParams, ResultOrder
from gateway.core.position import Position, ResumePoint
from tests.fuzz.serving import Renewed, ServedRuns

ITEMS: Final = 40
_POINT: Final = struct.Struct(">BQQQQ")
_POSITION_LENGTH: Final = 25


GATEWAY: Final = Renewed(ServedRuns)

_NUMBERS: Final = st.integers(0, ITEMS + 1) | st.integers(0, 2**64 - 1)
DOCUMENTS: Final[st.SearchStrategy[bytes]] = (
    st.builds(lambda order, numbers: _POINT.pack(order, *numbers), st.integers(0, 3), st.tuples(*[_NUMBERS] * 4))
    | st.binary()
)


def check(data: bytes) -> None:
    """Follow a run from the token; a document as long as a position, or with a revision, makes a genuine token."""
    order = (ResultOrder.BY_INDEX, ResultOrder.BY_COMPLETION)[data[0] % 2 if data else 0]
    GATEWAY.call(lambda served: _follow(served, order, data))


async def _follow(served: ServedRuns, order: ResultOrder, data: bytes) -> None:
    token = data
    if len(data) in (_POSITION_LENGTH, _POINT.size):
        _, *numbers, revision = _POINT.unpack(data.ljust(_POINT.size, b"\0"))
        point = ResumePoint(Position(order, *numbers), revision)
        token = point.token(served.run_id)
        assert ResumePoint.from_token(token, served.run_id, order) == point, "a token does not round-trip"
    else:
        read = ResumePoint.from_token(data, served.run_id, order)
        assert read is None or read.token(served.run_id) == data, "two tokens mean the same position"
    wait = bool(data) and data[0] % 4 > 1
    params = GetParams(run_id=served.run_id, wait=wait, include_results=True, result_order=order, resume_token=token)
    indexes: list[int] = []
    restarted = False
    with served.service.follower(params) as follower:
        while (update := await follower.next()) is not None:
            results = update.status.results or []
            indexes += [result.item_index for result in results]
            restarted = restarted or update.restarted
            after = ResumePoint(update.position_after(len(results)), update.revision)
            assert ResumePoint.from_token(update.token_after(len(results)), served.run_id, order) == after
            assert len(indexes) <= ITEMS, "more results come than there are"
    assert len(set(indexes)) == len(indexes), "a result comes twice"
    if restarted or not token:
        assert sorted(indexes) == [*range(ITEMS)], "a result is missing"
