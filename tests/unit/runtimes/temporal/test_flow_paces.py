from gateway.runtimes.temporal.flow_paces import FLOWS, FlowPaces


def test_the_pace_of_a_flow_falls_at_once_and_rises_by_and_by() -> None:
    paces = FlowPaces()
    assert paces.of("flow") == 0.0
    paces.note("flow", 20, 0.01)
    assert paces.of("flow") == 2_000
    paces.note("flow", 1, 1.0)
    assert paces.of("flow") == 1
    paces.note("flow", 1_000, 1.0)
    assert paces.of("flow") == 2


def test_the_flows_that_were_used_last_are_remembered() -> None:
    paces = FlowPaces()
    paces.note("first", 1, 1.0)
    for number in range(FLOWS):
        paces.note(str(number), 1, 1.0)
    assert paces.of("first") == 0.0
