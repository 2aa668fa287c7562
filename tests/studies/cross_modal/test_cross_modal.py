"""The experiment on few tiny scenes: which records it makes, what goes on, and its page."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.studies.cross_modal.baselines import KeptMaps, Projection, majority_class
from benchmarks.studies.cross_modal.command import PAGE_NAME, Options, run
from benchmarks.studies.cross_modal.experiment import Settings, SomeLabeled
from benchmarks.studies.cross_modal.page import RECORDS_NAME, markdown
from benchmarks.studies.cross_modal.variants import FUSED, GRIDS, UNTRAINED
from tests.train.methods.cross_modal.conftest import NUM_CLASSES, make_batch, write_image_network
from train.ablation.records import Records, read_records
from train.data.dataset_spec import dataset_spec
from train.data.frame import IGNORE_INDEX
from train.engine import image_training
from train.engine.image_training import NAME
from train.methods.cross_modal.pixels import seen_pixels
from train.methods.registry import method_class
from train.networks.image import ImageCard, load_image_network, save_image_network

SMALL = Settings(
    frames=2, validation_frames=1, azimuth_steps=60, epochs=1, max_voxels=1000, student="toy:small"
)


class Frames:
    """Two frames of numbered points."""

    names = ("a", "b")
    skipped_unlabeled = 0
    unreadable: dict[str, str] = {}  # noqa: RUF012

    def __len__(self):
        return 2

    def __getitem__(self, index):
        @dataclasses.dataclass
        class Frame:
            segment: np.ndarray

        return Frame(np.arange(4000) % (2 + index))


def test_a_share_of_the_labels_is_kept_and_always_the_same():
    some = SomeLabeled(Frames(), 0.05)
    one, again, other = some[0].segment, some[0].segment, some[1].segment
    assert np.array_equal(one, again)
    kept = one != IGNORE_INDEX
    assert 0.03 < kept.mean() < 0.07
    assert np.array_equal(one[kept], Frames()[0].segment[kept])
    assert not np.array_equal(kept, other != IGNORE_INDEX)


def test_the_majority_and_the_projection(tmp_path):
    assert majority_class(Frames(), 3) == 0
    batch = make_batch()
    majority = Projection(None, NUM_CLASSES, 2)(batch).logits
    assert (majority.argmax(dim=1) == 2).all()
    network, _ = load_image_network(write_image_network(tmp_path / "image.safetensors"))
    found = Projection(network, NUM_CLASSES, 2)(batch).logits.argmax(dim=1)
    seen = seen_pixels(network, batch).mean_per_point()
    assert torch.equal(found[seen.point], seen.probabilities.argmax(dim=1))
    unseen = torch.ones(len(found), dtype=torch.bool)
    unseen[seen.point] = False
    assert (found[unseen] == 2).all()


def test_variants_are_methods_and_comparisons_name_variants():
    for grid in GRIDS.values():
        for name, variant in grid.variants.items():
            assert (name in UNTRAINED) == (variant.method == "")
            if variant.method:
                cls = method_class(variant.method)
                assert set(variant.options) <= {f.name for f in dataclasses.fields(cls.Config)}
                assert grid.label_share > 0 or not cls.needs_labels
        for comparison in grid.comparisons:
            for name in (comparison.variant, comparison.baseline):
                assert name.removesuffix(FUSED) in grid.variants


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An image network that is there already, and where things go."""
    work, output = (tmp_path_factory.mktemp(name) for name in ("work", "output"))
    torch.manual_seed(0)
    names = tuple(dataset_spec("nuscenes").class_names)
    card = ImageCard(class_names=names, width=3)
    save_image_network(card.build().eval(), card, work / NAME)
    return work, output


def test_runs_that_are_missing_are_made_and_stand_on_the_page(
    folders, toys_registered, monkeypatch
):
    work, output = folders
    grids = {
        "labels-5": dataclasses.replace(
            GRIDS["labels-5"],
            variants={name: GRIDS["labels-5"].variants[name] for name in ("lidar", "xmodel-kd")},
        ),
        "labels-0": dataclasses.replace(
            GRIDS["labels-0"],
            variants={name: GRIDS["labels-0"].variants[name] for name in (*UNTRAINED, "udakd")},
        ),
    }
    for module in ("experiment", "command"):
        monkeypatch.setattr(f"benchmarks.studies.cross_modal.{module}.GRIDS", grids)
    options = Options(output=output, work=work, grids=tuple(grids), seeds=1, device="cpu")
    run(options, SMALL)
    found = read_records([output / RECORDS_NAME]).runs
    assert {(each.grid, each.variant) for each in found} == {
        ("labels-5", "lidar"), ("labels-5", "xmodel-kd"), ("labels-5", "xmodel-kd-fused"),
        ("labels-0", "majority"), ("labels-0", "projection"), ("labels-0", "udakd"),
    }  # fmt: skip
    page = (output / PAGE_NAME).read_text()
    assert "| `xmodel-kd-fused` | the same runs, scored with images" in page
    assert "| `udakd` against `projection` | asked | 1 |" in page
    # Nothing is made again.
    monkeypatch.setattr(image_training, "train_image_network", None)
    monkeypatch.setattr("benchmarks.studies.cross_modal.experiment.fit", None)
    run(options, SMALL)
    assert read_records([output / RECORDS_NAME]).runs == found
    # Five seeds of one difference give an interval around it, and an answer.
    more = []
    for each in found:
        for seed in range(5):
            miou = each.scores["miou"] + (each.variant == "udakd") * (0.2 + 0.01 * seed)
            more.append(dataclasses.replace(each, seed=seed, scores={"miou": miou}))
    shown = markdown(Records(tuple(more), ()))
    assert shown.count("| 5 |") >= 3
    answers = [line for line in shown.splitlines() if "`udakd` against `majority`" in line]
    assert "**better**, +" in answers[0]
    assert answers[1].endswith("] | better |")


def test_each_image_is_computed_once_and_its_pixels_read_the_same():
    torch.manual_seed(0)
    card = ImageCard(class_names=("a", "b"), width=3)
    network = card.build().eval()
    images = torch.randint(0, 256, (3, 3, 32, 48), dtype=torch.uint8)
    view, row, column = torch.tensor([[0, 5, 7], [2, 31, 47], [1, 0, 0], [2, 9, 1]]).T
    with torch.no_grad():
        want = network.at_pixels(images, view, row, column)
    computed, compute = [], network.maps
    network.maps = lambda some: computed.append(len(some)) or compute(some)
    kept = KeptMaps()
    kept.serve(network)
    for order in ([0, 1, 2], [2, 0, 1]):
        place = torch.tensor(order).argsort()
        found = network.at_pixels(images[order], place[view], row, column)
        for one, other in zip(found, want, strict=True):
            torch.testing.assert_close(one, other)
    assert computed == [1, 1, 1]
    assert len(kept) == 3
