"""B22: units that no runner could bring to an end are refused before anything runs."""

from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.graph import check_graph
from segduet.scale.unit import WorkUnit


def _unit(name: str, *needs: str, output: str = "") -> WorkUnit:
    return WorkUnit(
        name=name, command=("info",), needs=needs, outputs=(Path(output or f"/out/{name}"),)
    )


def test_units_that_wait_for_each_other_in_order_are_fine() -> None:
    check_graph([_unit("c", "a", "b"), _unit("b", "a"), _unit("a")], where="study")


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([_unit("a"), _unit("a", output="/other")], "two units called 'a'"),
        ([_unit("a", "z")], "unit 'a': found a need of 'z'"),
        ([_unit("a", "b"), _unit("b", "c"), _unit("c", "a")], "a circle: "),
        ([_unit("a", "a")], "a circle: a needed by a"),
        ([_unit("a"), _unit("b", output="/out/a")], "/out/a, which both 'a' and 'b' write"),
        ([_unit("a"), _unit("b", output="/out/a/x")], "/out/a/x, which both 'a' and 'b' write"),
    ],
)
def test_one_clear_message_each(units: list[WorkUnit], message: str) -> None:
    with pytest.raises(RequestError) as error:
        check_graph(units, where="study")
    assert message in str(error.value)
