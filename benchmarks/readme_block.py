"""The generated block between the README's markers: one table, one line on where we lose."""

from benchmarks.imports import EVERY_NAME
from benchmarks.losses import small_losses
from benchmarks.markdown import measured_on, seconds
from benchmarks.peers_page import families_table
from benchmarks.schema import Record
from benchmarks.selection import newest
from benchmarks.table6_page import total


def readme_block(records: dict[str, Record]) -> str:
    """What stands between the README's markers."""
    peers, table6 = newest(records, "peers"), newest(records, "table6")
    limit = table6.record.run.time_limit_s if table6.record else 0.0
    sentences = []
    for n in (100, 1024):
        naive, ours = total(table6, "naive torch", n), total(table6, "fast", n)
        if ours is not None:
            took = f"over {limit:g} s" if naive is None else seconds(naive)
            sentences.append(f"{took} against our {seconds(ours)} at N = {n}")
    naive_line = (
        f"The paper's naive PyTorch reduction takes {', '.join(sentences)}, forward and backward "
        "([Table 6](docs/results/table6.md)). "
        if sentences
        else ""
    )
    small = small_losses(peers)
    importing = newest(records, "import")
    imported = importing.one(op=EVERY_NAME)
    import_line = (
        f"Importing takes {seconds(imported.p50_s)} beyond torch. "
        if imported is not None and imported.p50_s is not None
        else ""
    )
    return "\n\n".join(
        [
            "H0 and H1 of one cloud, with critical edges (`values`: births and deaths alone); "
            "`geometric mean` and `worst`: how many times faster we are.",
            families_table(peers),
            f"{naive_line}{small}{import_line}[All peers, sizes, targets and where we lose]"
            "(docs/results/table6_peers.md).",
            measured_on(peers, table6, *([importing] if import_line else [])),
        ]
    )
