"""A pipe brings messages from one thread to another, one at a time."""

from concurrent.futures import ThreadPoolExecutor

from gateway.client.upload import Pipe


def test_messages_arrive_in_order_and_end() -> None:
    pipe = Pipe[int]()
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(list, pipe)
        assert all(pipe.put(number) for number in range(1, 100))
        pipe.close()
        assert received.result() == list(range(1, 100))


def test_closing_releases_a_put_that_waits_for_room() -> None:
    pipe = Pipe[int]()
    assert pipe.put(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pipe.put, 2)
        pipe.close()
        assert not waiting.result()
    assert not pipe.put(3)
    assert list(pipe) == [1], "what was in it is not lost"


def test_closing_releases_an_iteration_that_waits_for_a_message() -> None:
    pipe = Pipe[int]()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, pipe)
        pipe.close()
        assert waiting.result() == []
