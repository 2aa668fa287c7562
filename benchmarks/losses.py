"""Where other implementations are faster than ours: every such case, and one line of it."""

from benchmarks.markdown import seconds, times
from benchmarks.schema import Record
from benchmarks.selection import Source, newest, ratio


def losses(records: dict[str, Record]) -> str:
    """Every measured case in which another implementation is faster than ours."""
    lost: dict[str, list[str]] = {}
    for suite in ("peers", "families", "large", "adversarial", "sampling", "backward"):
        source = newest(records, suite)
        for result in source.results:
            ours = source.one(
                implementation="fast", op=result.op, data=result.data, direction=result.direction,
                num_points=result.num_points, num_samples=result.num_samples, batch=result.batch,
                max_dim=result.max_dim,
            )  # fmt: skip
            faster = ratio(result, ours)
            if faster is not None and faster < 1 and ours is not None:
                case = f"{result.op} {result.direction}, {result.data}, N = {result.num_points}"
                lost.setdefault(f"{case} (ours {seconds(ours.p50_s)})", []).append(
                    f"{result.implementation} is {times(1 / faster)} faster"
                )
    lines = [f"{case}: {', '.join(who)}." for case, who in lost.items()]
    if not lines:
        lines = ["In no case measured here."]
    return "\n".join(
        f"- {line}"
        for line in [
            *lines,
            "Not covered: H2 and above, coefficients other than Z/2, sparse filtrations, which "
            "ripser.py, giotto-ph, holos-tda and GUDHI have and we have not.",
        ]
    )


def small_losses(source: Source) -> str:
    """One line on the smallest clouds, where a call's fixed cost decides."""
    ours = source.one(implementation="fast", data="features", num_points=30)
    faster = [
        result.implementation.removesuffix(", one thread")
        for result in source.where(data="features", num_points=30)
        if (value := ratio(result, ours)) is not None and value < 1
    ]
    if ours is None or not faster:
        return ""
    names = ", ".join(dict.fromkeys(faster))
    return f"At N = 30 we lose to {names}: a call of ours costs {seconds(ours.p50_s)}. "
