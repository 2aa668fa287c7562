"""The leak test finds a leak that is there, and none that is not."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.studies.color_leak import measure as color_leak
from benchmarks.studies.color_leak.measure import ColorTable, Leak, SeenByNetwork, measure, scores
from benchmarks.studies.color_leak.page import page
from train.core.errors import UserError
from train.networks.image import ImageCard, save_image_network

NAMES = ("road", "car", "tree", "bus")
COLORS = np.array([[10, 10, 10], [200, 30, 30], [30, 200, 30], [0, 0, 0]], dtype=np.uint8)
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def dataset(monkeypatch, paint) -> SimpleNamespace:
    """Return a dataset whose images `paint` colors, given their labels and chance."""

    def images(source, root):
        rng = np.random.default_rng([len(source), *map(ord, source)])
        for number in range(8):
            labels = rng.choice(3, size=(24, 40), p=[0.6, 0.3, 0.1]).astype(np.uint8)
            labels[:2] = 255
            pixels = paint(labels, rng)
            image = SimpleNamespace(read=lambda pixels=pixels: pixels)
            yield f"{source}/{number // 2}", image, labels

    monkeypatch.setattr(color_leak, "labeled_images", images)
    made = SimpleNamespace(training_sequences=("a",), validation_sequences=("b",))
    return SimpleNamespace(
        name="toy",
        class_names=NAMES,
        simulate=lambda *_, **__: made,
        open=lambda *_, sequences, **__: sequences[0],
    )


def test_a_color_for_each_class_is_found(monkeypatch):
    spec = dataset(monkeypatch, lambda labels, _: COLORS[labels % 4])
    leak = measure(spec, Path("nowhere"), scenes=2, test_scenes=1, seed=0)
    assert leak.miou["color"] == pytest.approx(1.0)
    assert leak.accuracy["color"] == pytest.approx(1.0)
    # By hand: the majority class alone, and guesses by frequency.
    assert leak.accuracy["majority"] == pytest.approx(0.6, abs=0.02)
    assert leak.miou["majority"] == pytest.approx(0.2, abs=0.01)
    guess = [p * p / (2 * p - p * p) for p in (0.6, 0.3, 0.1)]
    assert leak.miou["chance"] == pytest.approx(np.mean(guess), abs=0.01)
    # Pixels without a class and classes that are not there count for nothing.
    assert leak.test_pixels == 8 * 22 * 40
    assert leak.classes == ["road", "car", "tree"]


def test_colors_that_say_nothing_give_chance(monkeypatch):
    spec = dataset(monkeypatch, lambda labels, rng: COLORS[rng.integers(0, 3, labels.shape)])
    leak = measure(spec, Path("nowhere"), scenes=2, test_scenes=1, seed=0)
    assert leak.miou["color"] == pytest.approx(leak.miou["majority"], abs=0.01)
    assert leak.iou["color"]["tree"] == 0.0


def test_a_color_that_an_object_keeps_is_found_within_its_scene_alone(monkeypatch):
    def paint(labels, rng):
        # The two parts of the data have different colors for the same classes.
        swap = rng.bit_generator.seed_seq.entropy[-1] == ord("b")
        return COLORS[(labels % 4 + swap) % 3]

    spec = dataset(monkeypatch, paint)
    leak = measure(spec, Path("nowhere"), scenes=2, test_scenes=1, seed=0)
    assert leak.miou["color, same scenes"] == pytest.approx(1.0)
    assert leak.miou["color"] < 0.2


def test_scores_are_those_of_the_definition():
    matrix = np.array([[3.0, 1.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    iou, accuracy = scores(matrix)
    np.testing.assert_allclose(iou[:2], [3 / 6, 4 / 7])
    assert np.isnan(iou[2])
    assert accuracy == 0.7


def test_rows_are_counted_apart_from_colors():
    table = ColorTable(2)
    labels = np.repeat(np.array([[0], [1]], dtype=np.uint8), 5, axis=1)
    table.add(np.zeros((2, 5, 3), dtype=np.uint8), labels)
    assert table.classes_of_rows().tolist() == [0, 1]
    assert table.by_row.tolist() == [[5, 0], [0, 5]]


@pytest.fixture
def image_file(tmp_path):
    torch.manual_seed(0)
    card = ImageCard(
        class_names=NAMES, image_size=(24, 40), width=3, trained_on="scenes of elsewhere"
    )
    save_image_network(card.build().eval(), card, tmp_path / "image.safetensors")
    return tmp_path / "image.safetensors"


def test_the_page_says_the_numbers(monkeypatch, image_file):
    spec = dataset(monkeypatch, lambda labels, _: COLORS[labels % 4])
    asked = {"scenes": 2, "test_scenes": 1, "seed": 3}
    text = page(measure(spec, Path("nowhere"), **asked), "x.jpg")
    assert "| the pixel's color | 100.0 | 100.0 |" in text
    assert "--scenes 2 --test-scenes 1 --seed 3 --output" in text
    assert "2-D network" not in text
    leak = measure(spec, Path("nowhere"), **asked, network=image_file)
    text = page(leak, "x.jpg")
    assert f"from the whole image | {100 * leak.miou['network']:.1f} |" in text
    assert "--seed 3 --image-network FILE --output" in text
    assert "trained on scenes of elsewhere" in text


def test_the_committed_page_is_that_of_its_record():
    record = json.loads((RESULTS / "cameras.json").read_text(encoding="utf-8"))
    text = (RESULTS / "cameras.md").read_text(encoding="utf-8")
    assert page(Leak(**record), "cameras.jpg") == text


def test_a_network_is_counted_as_its_predictions_are(image_file):
    seen = SeenByNetwork(image_file, SimpleNamespace(class_names=NAMES))
    torch.nn.init.normal_(seen.network.head.weight, std=10.0)
    torch.nn.init.zeros_(seen.network.head.bias)
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 2, 255], dtype=np.uint8), size=(24, 40))
    pixels = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    seen.add(pixels, labels)
    with torch.no_grad():
        found = seen.network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])[0].argmax(0)
    want = np.zeros((4, 4))
    for truth, prediction in zip(labels.flat, found.numpy().flat, strict=True):
        if truth != 255:
            want[truth, prediction] += 1
    np.testing.assert_array_equal(seen.matrix, want)
    assert len(np.flatnonzero(want.sum(axis=0))) > 1
    with pytest.raises(UserError, match="24 x 40 pixels, these have 12 x 40"):
        seen.add(pixels[:12], labels[:12])
