"""The lives of component servers, and what they execute."""

from gateway.components.seats import Seats


def test_each_life_has_a_name_of_its_own_and_tells_what_it_executes() -> None:
    seats = Seats(lambda name: f"http://host/{name}")
    first, second = seats.take("/sdk"), seats.take("/sdk")
    assert first.name != second.name
    assert first.blob_api_url == f"http://host/{first.name}"
    with first.executing("task"), first.executing("task"):
        assert [*seats.tasks(first.name)] == ["task"]
        assert not seats.tasks(second.name)
    assert not seats.tasks(first.name)
    name = first.name
    del first
    assert not seats.tasks(name)


def test_names_can_stand_in_headers() -> None:
    assert Seats(lambda _: None).take("/ä b").name.isascii()
