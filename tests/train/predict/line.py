"""The predict command in tests: run on a CPU, and its refusals."""

import shlex

from train.predict.command import main


def run(folder, line):
    """Run the command; words that start with @ are files in the folder."""
    words = [word.replace("@", f"{folder}/") for word in shlex.split(line)]
    return main([*words, "--device", "cpu"])


def refused(folder, capsys, line):
    """Return the one line of a refusal: exit code 2, and no file is written or changed."""
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    assert run(folder, line) == 2
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    captured = capsys.readouterr()
    lines = [text for text in captured.err.splitlines() if text.startswith("error: ")]
    assert len(lines) == 1
    assert captured.err.endswith(lines[0] + "\n")
    assert captured.out == ""
    return lines[0]
