"""Calls share a connection, and streams have others: as many as it takes, and no more than that."""

import pytest

from gateway.peers.grpc.connection_pool import ConnectionPool


def pool(streams: int = 2) -> ConnectionPool[object]:
    return ConnectionPool(object, streams)


def test_calls_share_one_connection() -> None:
    connections = pool()
    connection = connections.acquire()
    assert all(connections.acquire() is connection for _ in range(1_000))
    for _ in range(1_001):
        assert connections.release(connection) == [], "it is kept for the next call"
    assert connections.acquire() is connection


def test_streams_leave_the_connection_of_calls_alone() -> None:
    connections = pool(streams=100)
    streams = [connections.acquire(stream=True) for _ in range(300)]
    assert {streams.count(connection) for connection in streams} == {100}
    assert connections.acquire() not in streams


def test_a_stream_takes_the_place_of_one_that_has_ended() -> None:
    connections = pool()
    streams = [connections.acquire(stream=True) for _ in range(4)]
    connections.release(streams[0])
    assert connections.acquire(stream=True) is streams[0]
    assert connections.acquire(stream=True) not in streams


def test_idle_connections_are_closed_but_for_one() -> None:
    connections = pool()
    streams = [connections.acquire(stream=True) for _ in range(6)]
    closed = [connection for stream in streams for connection in connections.release(stream)]
    assert closed == [streams[2], streams[4]]
    assert connections.acquire(stream=True) is streams[0]


def test_what_streams_that_come_and_go_need_is_neither_closed_nor_made_each_time() -> None:
    made = []

    def connect() -> object:
        made.append(object())
        return made[-1]

    connections = ConnectionPool(connect, 2)
    for _ in range(100):
        stream = connections.acquire(stream=True)
        assert connections.release(stream) == []
    assert len(made) == 1


def test_a_dead_connection_is_replaced_and_closed_by_the_last_call_that_used_it() -> None:
    connections = pool()
    dead = connections.acquire()
    assert connections.acquire() is dead
    assert connections.release(dead, dead=True) == [], "the other call still uses it"
    present = connections.acquire()
    assert present is not dead
    assert connections.release(dead, dead=True) == [dead]
    assert connections.acquire() is present, "the second report of a dead connection replaces nothing"


def test_what_leads_to_the_same_peer_as_a_dead_connection_is_replaced_as_well() -> None:
    connections = pool()
    calls, streams = connections.acquire(), [connections.acquire(stream=True) for _ in range(4)]
    connections.release(calls)
    assert connections.release(streams[0], dead=True) == [calls]
    assert connections.acquire() is not calls
    assert connections.acquire(stream=True) not in streams
    assert connections.release(streams[2]) == []
    assert connections.release(streams[1], dead=True) == [streams[0]]
    assert connections.release(streams[3]) == [streams[2]]


def test_closing_hands_over_every_connection_and_ends_the_rest() -> None:
    connections = pool()
    dead, _ = connections.acquire(), connections.acquire()
    connections.release(dead, dead=True)
    present, stream = connections.acquire(), connections.acquire(stream=True)
    assert connections.close() == [dead, present, stream]
    assert connections.release(present) == []
    assert connections.close() == []
    with pytest.raises(ValueError, match="the client is closed"):
        connections.acquire()
