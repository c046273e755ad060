"""Calls share a channel; one that is dead is replaced, and closed when the last call has left it."""

import pytest

from gateway.client.channels import Channels


def test_calls_share_one_channel() -> None:
    channels = Channels(object)
    channel = channels.take()
    assert channels.take() is channel
    assert not channels.give_back(channel)
    assert not channels.give_back(channel), "it is kept for the next call"
    assert channels.take() is channel


def test_a_dead_channel_is_replaced_and_closed_by_the_last_call_that_used_it() -> None:
    channels = Channels(object)
    dead = channels.take()
    assert channels.take() is dead
    assert not channels.give_back(dead, dead=True), "the other call still uses it"
    present = channels.take()
    assert present is not dead
    assert channels.give_back(dead, dead=True)
    assert channels.take() is present, "who comes late replaces nothing"


def test_closing_hands_over_every_channel_and_ends_the_rest() -> None:
    channels = Channels(object)
    dead, _ = channels.take(), channels.take()
    channels.give_back(dead, dead=True)
    present = channels.take()
    assert channels.close() == [dead, present]
    assert not channels.give_back(present)
    assert channels.close() == []
    with pytest.raises(ValueError, match="the client is closed"):
        channels.take()
