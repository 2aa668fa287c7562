"""A generated block replaces what stands between its markers, and nothing else."""

import pytest

from train.core.marked_block import with_block

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"


def test_what_stands_between_the_markers_is_replaced():
    text = f"before\n{BEGIN}\nold\nlines\n{END}\nafter\n"
    assert with_block(text, "new", "scores") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["none", f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}x"])
def test_markers_that_are_no_pair_are_refused(text):
    with pytest.raises(ValueError, match="needs one <!-- scores:begin --> and one <!-- scores:end"):
        with_block(text, "new", "scores")
