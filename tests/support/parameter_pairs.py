"""Parameters of submits in pairs: those that mean the same, and those that do not, for idempotency keys."""

from typing import Any, Final, NamedTuple


class Pair(NamedTuple):
    """Two sets of parameters beside the same flow, which has the step `x`; `inputs` is `["1"]` unless it is given.

    `wide`: some runtimes refuse the numbers, which are beyond what a double or 53 bits hold.
    """

    name: str
    one: dict[str, Any]
    other: dict[str, Any]
    wide: bool = False


def inputs(one: str, other: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One input that is spelled in two ways."""
    return {"inputs": [one]}, {"inputs": [other]}


def overrides(one: str, other: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides that are spelled in two ways."""
    return {"overrides": one}, {"overrides": other}


LONG: Final = "[" + ",".join(f'{{"n": {number}.50, "s":"\\u0061{number}"}}' for number in range(2_000)) + "]"
LONG_ALIKE: Final = "[" + ", ".join(f'{{"s": "a{number}", "n":{number}.5}}' for number in range(2_000)) + "]"

STEP_X: Final = '"x":{"value":{"metadata":{"a":1.0}}}'

SAME: Final = (
    Pair("white space", *inputs('{"a":[1,2]}', ' { "a" : [ 1 ,\n\t2 ] } ')),
    Pair("the order of members", *inputs('{"a":1,"b":{"c":2,"d":3}}', '{"b":{"d":3,"c":2},"a":1}')),
    Pair("1 and 1.0", *inputs("1", "1.0")),
    Pair("100 and 1e2", *inputs("[100,1E2]", "[1e+2,100.00]")),
    Pair("0.15 and 15e-2", *inputs("0.15", "15e-2")),
    Pair("zeros", *inputs("[0,-0,-0.0]", "[0.0,0e5,-0]")),
    Pair("a large integer", *inputs("10000000000000000000000", "1e22"), wide=True),
    Pair("escapes", *inputs('"a/\\n\\u00e9"', '"\\u0061\\/\\u000A\\u00E9"')),
    Pair("escapes in names", *inputs('{"a":1}', '{"\\u0061":1}')),
    Pair("pairs of surrogates", *inputs('"\\ud83d\\ude00"', '"😀"')),
    Pair("repeated members", *inputs('{"a":1,"b":2,"a":3}', '{"b":2,"a":3}')),
    Pair("a long input", *inputs(LONG, LONG_ALIKE)),
    Pair("many inputs", {"inputs": ["1.0"] * 700}, {"inputs": ["1"] * 700}),
    Pair("no overrides", {}, {"overrides": "{}"}),
    Pair("no overrides of steps", {"overrides": " { } "}, {"overrides": '{"steps":{}}'}),
    Pair("overrides of steps that are null", {}, {"overrides": '{"steps":null}'}),
    Pair("the level 'steps' as null", *overrides(f"{{{STEP_X}}}", f'{{"steps":null,{STEP_X}}}')),
    Pair("the level 'steps'", *overrides('{"x":{"value":{"metadata":{"a":1}}}}', f'{{"steps":{{{STEP_X}}}}}')),
    Pair(
        "the default type of overrides",
        *overrides('{"x":{"value":{}}}', '{"x":{"value":{},"$type":"merge_patch"}}'),
    ),
    Pair("no variables", {}, {"variables": {}}),
    Pair("variables", {"variables": {"a": "1", "b": '"é"'}}, {"variables": {"b": '"\\u00e9"', "a": "1.0"}}),
    Pair("how to wait", {"wait": False}, {"wait": True, "timeout": 30.0}),
)

DIFFERENT: Final = (
    Pair("numbers", *inputs("1", "2")),
    Pair("the sign", *inputs("1", "-1")),
    Pair("a fraction", *inputs("1", "1.0000000000000002")),
    Pair("integers that one double stands for", *inputs("9007199254740993", "9007199254740992"), wide=True),
    Pair("decimals that one double stands for", *inputs("0.1", "0.1000000000000000000001"), wide=True),
    Pair("a number and its text", *inputs("1", '"1"')),
    Pair("null and absent", *inputs('{"a":null}', "{}")),
    Pair("null and false", *inputs("null", "false")),
    Pair("an object and an array", *inputs("{}", "[]")),
    Pair("the order of elements", *inputs("[1,2]", "[2,1]")),
    Pair("elements and members", *inputs('[{"a":1},{"b":2}]', '[{"a":1,"b":2}]')),
    Pair("white space in a text", *inputs('"a b"', '"ab"')),
    Pair("upper case", *inputs('{"a":1}', '{"A":1}')),
    Pair("composed characters", *inputs('"é"', '"e\\u0301"')),
    Pair("a repeated member that counts", *inputs('{"a":1,"a":2}', '{"a":2,"a":1}')),
    Pair("a long input", *inputs(LONG, LONG.replace("1999.50", "1999.51"))),
    Pair("the number of inputs", {"inputs": ["1"]}, {"inputs": ["1", "1"]}),
    Pair("the order of inputs", {"inputs": ["1", "2"]}, {"inputs": ["2", "1"]}),
    Pair("inputs and an array", {"inputs": ["1", "2"]}, {"inputs": ["[1,2]"]}),
    Pair("variables", {"variables": {"a": "1"}}, {"variables": {"b": "1"}}),
    Pair("a variable of null", {}, {"variables": {"a": "null"}}),
    Pair("overrides", {}, {"overrides": '{"x":{"value":{"metadata":{"a":1}}}}'}),
    Pair("null in overrides", *overrides('{"x":{"value":{"metadata":null}}}', '{"x":{"value":{}}}')),
    Pair("max_concurrency", {"max_concurrency": 1}, {"max_concurrency": 2}),
    Pair("labels", {"flow_label": "a"}, {"flow_label": "A"}),
)
