"""The generated page of a figure: the picture, its numbers, the exponent of each curve."""

from benchmarks.markdown import GENERATED, measured_on, time_of
from benchmarks.schema import Record, Result
from benchmarks.selection import exponent, newest
from train.core.blocks import DASH, page, table


def figure_page(
    records: dict[str, Record], suite: str, title: str, text: str, series: dict[str, list[Result]]
) -> str:
    """A figure with the numbers it plots and the exponent of each curve."""
    source = newest(records, suite)
    sizes = sorted({result.num_points for result in source.results})
    rows = []
    for label, results in series.items():
        of_size = {result.num_points: result for result in results}
        power = exponent(results)
        rows.append(
            [
                label,
                *(time_of(of_size.get(n)) for n in sizes),
                DASH if power is None else f"{power:.2f}",
            ]
        )
    return page(
        GENERATED,
        f"# {title}",
        text,
        f"![{title}]({suite}.png)" if series else "Not measured in a committed record.",
        table(["", *(f"N = {n}" for n in sizes), "exponent"], rows),
        "The exponent p is the least-squares fit of c N^p to the medians. " + measured_on(source),
    )
