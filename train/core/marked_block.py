"""Replaces what stands between two markers of a text that is otherwise written by hand."""


def with_block(text: str, block: str, name: str) -> str:
    """Return the text with `block` between its markers.

    Parameters
    ----------
    text
        Has one `<!-- NAME:begin -->` and one `<!-- NAME:end -->` after it.
    block
        What is to stand between them, on lines of its own.
    name
        The markers' name.

    Raises
    ------
    ValueError
        If the markers are not there, once each and in order.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page needs one {begin} and one {end} after it, on lines of its own")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"
