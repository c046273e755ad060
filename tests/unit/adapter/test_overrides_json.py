"""The two forms of overrides."""

import pytest

from gateway.adapter.overrides_json import divided_overrides


@pytest.mark.parametrize(
    ("text", "divided"),
    [
        ("{}", ("{}", None)),
        ('{"s": {"value": {}}}', ('{"s": {"value": {}}}', None)),
        ('{"steps": {"s": 1.0}}', ('{"steps": {"s": 1.0}}', '{"s": 1.0}')),
        ('{"steps": null}', ("{}", None)),
        ('{"a\\n": 1.0, "steps": null}', ('{"a\\n":1.0}', None)),
    ],
)
def test_the_level_steps_is_found_if_it_is_there(text: str, divided: tuple[str, str | None]) -> None:
    assert divided_overrides(text) == divided
