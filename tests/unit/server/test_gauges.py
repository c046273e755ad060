"""What metrics read of a process."""

from gateway.concurrency.memory_account import MEMORY_USES, MemoryAccount
from gateway.server.gauges import gauged
from gateway.telemetry.gateway_metrics import MEMORY, MEMORY_LIMIT


async def test_the_uses_of_memory_add_up_to_what_is_held() -> None:
    account = MemoryAccount(1 << 30)
    with gauged(account):
        for number, use in enumerate(MEMORY_USES, 1):
            account.share(use).take(number)
        part = account.part(0.5, "state")
        part.take(1_000)
        assert part.may_take(500)
        part.add(50)
        part.give_back(5)
        share = account.share("flows")
        share.count(70)
        share.give_back(7)
        read = {labels[0]: value for labels, (value,) in MEMORY.family().samples}
        assert sum(read.values()) == account.held
        assert read["state"] == MEMORY_USES.index("state") + 1 + 1_545
        assert read["flows"] == MEMORY_USES.index("flows") + 1 + 63
        assert MEMORY_LIMIT.family().samples == [((), [1 << 30])]
    assert MEMORY.family().samples == []
