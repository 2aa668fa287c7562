"""What a data root says about how its sweeps were simulated."""

import json
from pathlib import Path
from typing import Final

from train.core.errors import UserError

RECORD: Final = "simulation.json"
"""The file in the data root that says how its sweeps were made; recorded data has none."""


def simulated_seed(root: Path) -> int | None:
    """Return the seed of the simulated streets under a data root; None for recorded sweeps.

    Raises
    ------
    UserError
        If there is a record that cannot be read.
    """
    path = root / RECORD
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["seed"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); remove {root} and simulate again"
        ) from error
