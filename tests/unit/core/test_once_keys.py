"""Keys of submits that have none."""

from gateway.core.model import SubmitParams
from gateway.core.once_keys import with_key


def test_each_submit_without_a_key_gets_another_one() -> None:
    params = SubmitParams(flow_id="f", inputs=["1"])
    keys = {with_key(params).idempotency_key for _ in range(10)}
    assert len(keys) == 10
    assert None not in keys


def test_a_key_stays() -> None:
    params = SubmitParams(flow_id="f", inputs=["1"], idempotency_key="k")
    assert with_key(params) is params
