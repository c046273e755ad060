"""Calls share a channel; one that is dead is replaced, and closed when the last call has left it."""

import pytest

from gateway.client.channels import Channels


def test_calls_share_one_channel() -> None:
    channels = Channels(object)
    channel = channels.acquire()
    assert channels.acquire() is channel
    assert not channels.release(channel)
    assert not channels.release(channel), "it is kept for the next call"
    assert channels.acquire() is channel


def test_a_dead_channel_is_replaced_and_closed_by_the_last_call_that_used_it() -> None:
    channels = Channels(object)
    dead = channels.acquire()
    assert channels.acquire() is dead
    assert not channels.release(dead, dead=True), "the other call still uses it"
    present = channels.acquire()
    assert present is not dead
    assert channels.release(dead, dead=True)
    assert channels.acquire() is present, "the second report of a dead channel replaces nothing"


def test_closing_hands_over_every_channel_and_ends_the_rest() -> None:
    channels = Channels(object)
    dead, _ = channels.acquire(), channels.acquire()
    channels.release(dead, dead=True)
    present = channels.acquire()
    assert channels.close() == [dead, present]
    assert not channels.release(present)
    assert channels.close() == []
    with pytest.raises(ValueError, match="the client is closed"):
        channels.acquire()
