"""Finds nuScenes' tables under a data root, and which version of them has what is wanted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.files import RootLayout, listed, reading
from train.data.nuscenes.splits import SCENES, VERSIONS
from train.data.nuscenes.tables import read_rows

_LAYOUT: Final = RootLayout(
    "nuScenes",
    "the folder that holds samples/LIDAR_TOP/ and v1.0-trainval/, v1.0-mini/ or v1.0-test/",
    "it holds the tables",
)


def find_versions(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the scenes of each version of the tables that is there.

    Raises
    ------
    UserError
        If the root is missing, a file, empty, a level too high or too low, or something else, or a
        table of scenes is missing or damaged.
    """
    _LAYOUT.check(root)
    with reading(root):
        versions = [name for name in VERSIONS if (root / name).is_dir()]
        if not versions:
            raise _LAYOUT.refusal(root, _is_root)
    return {
        name: tuple(row.text("name") for row in read_rows(root / name / "scene.json"))
        for name in versions
    }


def choose_version(root: Path, split: str, sequences: Sequence[str]) -> str:
    """Return the folder of tables that a split, or all of the named scenes, are to be read from.

    Raises
    ------
    UserError
        If there is none; see also `find_versions`.
    """
    versions = find_versions(root)
    usual = [name for name in SCENES[split] if name in versions]
    if sequences:
        candidates = usual + [name for name in versions if name not in usual]
        for name in candidates:
            if set(sequences) <= set(versions[name]):
                return name
        table = root / candidates[0] / "scene.json"
        absent = [name for name in sequences if name not in versions[candidates[0]]]
        raise UserError(
            f"{table}: has no {listed(absent)}; it has "
            f"{listed(versions[candidates[0]], 'no scene')}; choose others"
        )
    if not usual:
        raise UserError(
            f"{root}: has no {' or '.join(SCENES[split])}, where the {split} split is; it has "
            f"{', '.join(versions)}; unpack it there, or choose another split or scenes by name"
        )
    version = usual[0]
    if not set(SCENES[split][version]) & set(versions[version]):
        raise UserError(
            f"{root / version / 'scene.json'}: has none of the {len(SCENES[split][version])} "
            f"scenes of the official {split} split; it has "
            f"{listed(versions[version], 'no scene')}; choose scenes by name"
        )
    return version


def _is_root(folder: Path) -> bool:
    return any((folder / name / "scene.json").is_file() for name in VERSIONS)
