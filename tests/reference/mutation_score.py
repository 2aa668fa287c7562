"""Record the score of the last mutation run (`tox -e mutation`); fail if it is below 95%."""

import datetime
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FLOOR = 0.95
KILLED = {"killed", "timeout"}  # a mutant that never ends is noticed too
RECORD = Path(__file__).parents[2] / "docs" / "results" / "mutation_reference.json"


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def outcomes() -> dict[str, str]:
    """Return what became of each mutant, as `mutmut results` prints it: `name: outcome`."""
    lines = output_of("mutmut", "results", "--all", "true").splitlines()
    return dict(line.strip().split(": ", maxsplit=1) for line in lines if ": " in line)


def change(mutant: str) -> list[str]:
    """Return the lines that the mutant takes away and adds."""
    lines = output_of("mutmut", "show", mutant).splitlines()
    changed = (line for line in lines if line[:1] in "-+" and line[:3] not in ("---", "+++"))
    return [line[0] + " " + line[1:].strip() for line in changed]


def main() -> int:
    """Write the record; return 1 if too few mutants were noticed."""
    found = outcomes()
    noticed = sum(outcome in KILLED for outcome in found.values())
    score = noticed / len(found)
    record = {
        "utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": output_of("git", "rev-parse", "--short", "HEAD").strip(),
        "dirty": bool(output_of("git", "status", "--porcelain", "--", "reference", "tests")),
        "python": platform.python_version(),
        "mutmut": version("mutmut"),
        "mutants": len(found),
        "outcomes": {
            kind: list(found.values()).count(kind) for kind in sorted(set(found.values()))
        },
        "score": round(score, 4),
        "not_noticed": {
            mutant: change(mutant) for mutant, outcome in found.items() if outcome not in KILLED
        },
    }
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    sys.stdout.write(f"{noticed} of {len(found)} mutants noticed, {score:.1%}; see {RECORD.name}\n")
    return 0 if score >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
