"""The working set against a plain dictionary: whatever is put, kept and undone, both say the same."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.working_set import WorkingSet


@dataclass(frozen=True, slots=True)
class Row:
    """A row whose root may change."""

    key: int
    root: int
    text: str


rows = st.builds(Row, st.integers(0, 5), st.integers(0, 3), st.text(max_size=1))
messages = st.lists(st.tuples(st.lists(rows, max_size=4), st.booleans()), max_size=10)


def unique(many: list[Row]) -> list[Row]:
    return list({row.key: row for row in many}.values())


@given(st.lists(rows, max_size=6).map(unique), messages)
def test_only_what_was_kept_is_there(loaded: list[Row], messages: list[tuple[list[Row], bool]]) -> None:
    state, model = WorkingSet(), {row.key: row for row in loaded}
    state.add(loaded)
    for changes, is_kept in messages:
        for row in changes:
            state.put(row)
        if is_kept:
            state.keep()
            model |= {row.key: row for row in changes}
        else:
            state.undo()
        assert_same(state, model, {row.key: row for row in loaded})


def assert_same(state: WorkingSet, model: dict[int, Row], loaded: dict[int, Row]) -> None:
    assert {key: state.find(Row, key) for key in range(6)} == {key: model.get(key) for key in range(6)}
    for root in range(4):
        expected = {row.key for row in model.values() if row.root == root}
        under = [row.key for row in state.under(Row, root)]
        assert sorted(under) == sorted(expected)
    assert {row.key: row for row in state.inserted(Row)} == {k: row for k, row in model.items() if k not in loaded}
    updated = {each.after.key: each for each in state.updated(Row)}
    assert all(each.before == loaded[key] and each.after == model[key] for key, each in updated.items())
    assert {key for key in loaded if loaded[key] != model[key]} <= updated.keys() <= loaded.keys()


def test_rows_of_a_root_come_in_the_order_in_which_they_were_added() -> None:
    state = WorkingSet()
    state.add([Row(3, 1, ""), Row(1, 1, "")])
    state.put(Row(2, 1, ""))
    assert [row.key for row in state.under(Row, 1)] == [3, 1, 2]
