from gateway.access.limit_rules import LimitRule, rule_for

ROBOTS = LimitRule(("batch-*", "robot"), max_calls=1)
FREE = LimitRule(("team-a",))
TEAMS = LimitRule(("team-*",), max_calls=2)
OTHERS = LimitRule(max_calls=3)


def test_the_first_rule_that_names_an_identity_counts() -> None:
    rules = (OTHERS, ROBOTS, FREE, TEAMS)
    assert rule_for("batch-", rules) is ROBOTS
    assert rule_for("batch-7", rules) is ROBOTS
    assert rule_for("robot", rules) is ROBOTS
    assert rule_for("robots", rules) is OTHERS
    assert rule_for("team-a", rules) is None, "its rule limits nothing"
    assert rule_for("team-b", rules) is TEAMS
    assert rule_for("", rules) is OTHERS


def test_without_a_rule_there_is_no_limit() -> None:
    assert rule_for("a", ()) is None
    assert rule_for("a", (ROBOTS,)) is None
    assert rule_for("a", (LimitRule(),)) is None
