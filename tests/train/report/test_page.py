"""The page says what the report holds, in one sound file that asks nothing from outside."""

import base64
import dataclasses
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from train.data.dataset_spec import dataset_spec
from train.report.frames import PicturedFrame
from train.report.gather import (
    Curve,
    GradientNorms,
    NetworkScores,
    RunReport,
    StageTime,
)
from train.report.page import confusion_matrix, html_page

SPEC = dataset_spec("semantickitti")
HOSTILE = "<script>alert('x')</script>&\""


class Page(HTMLParser):
    """Reads a page; unbalanced tags fail."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.images, self.rows = [], [], [], [], []
        self.titled = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag == "th" and not self.rows[-1]:
            self.titled.append(self.rows[-1])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def of_table_row(self, first):
        """Return the further cells of the one row of data that begins with a word."""
        (found,) = [row[1:] for row in self.rows if row[0] == first and row not in self.titled]
        return found


def scores(role, miou, iou, **more):
    return NetworkScores(
        role=role, parameters=1234, miou=miou, common_miou=miou / 2, accuracy=0.75, iou=iou, **more
    )


def confusion():
    counts = np.zeros((19, 19), dtype=int)
    counts[0, 0], counts[0, 8], counts[8, 8] = 30, 10, 60
    return counts.tolist()


@pytest.fixture
def report():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 8, -1], 100)
    frame = PicturedFrame(
        place="worst",
        name="08/000001",
        coord=rng.uniform(-20, 20, (300, 3)).astype(np.float32),
        truth=truth,
        predictions={"teacher": np.where(truth < 0, 8, truth), "student": np.full(300, 8)},
        miou={"teacher": 1.0, "student": 0.25},
    )
    return RunReport(
        spec=SPEC,
        simulated=True,
        settings=(("Method", "kd"), ("Networks", "the tiny pair"), ("Device", "cpu")),
        command="python -m train.run",
        networks=(
            scores("teacher", 0.5, {"car": 0.25, "road": 0.75}, confusion=confusion()),
            scores(
                "student",
                0.45,
                {"car": 0.2, "road": 0.7},
                confusion=confusion(),
                agreement={
                    "frames": 4,
                    "not_finite": 0,
                    "scenes": 2,
                    "distance_correlation": 0.625,
                    "own_other": {"edges": 0.5},
                },
            ),
            scores("baseline", 0.47, {"car": 0.25, "road": 0.69}),
        ),
        untrained_miou=0.01,
        validation_frames=4,
        common_classes=("car", "road"),
        losses=(Curve("student", "topology", (1, 2, 3), (3.0, 2.0, 1.0)),),
        validation=(Curve("student", "mIoU", (1, 2), (0.2, 0.4)),),
        gradients=(
            GradientNorms("student", ("ce", "topology"), (10, 20), ((3.0, 1.0), (1.0, 1.0))),
        ),
        times=(
            StageTime("student", 12.0, 3, 0.25),
            StageTime("baseline validation", 5.0, 0, None),
            StageTime("evaluation", 2.0, 0, None),
        ),
        frames=(frame,),
        notes=("Something is missing.",),
    )


def test_the_page_is_one_file_that_asks_for_nothing(report):
    text = html_page(report)
    page = Page(text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "base"}
    for tag, attrs in page.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "href") or value.startswith("data:image/png;base64,")
    assert "url(" not in text
    assert "@import" not in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        page.tags
    )
    assert html_page(report) == text


def test_the_scores_and_the_difference_are_those_of_the_report(report):
    page = Page(html_page(report))
    assert page.of_table_row("student alone") == ["47.00", "23.50", "75.00", "1,234"]
    assert page.of_table_row("student minus student alone") == ["-2.00", "-1.00", "+0.00", ""]
    # teacher, student, student alone, difference, labeled points
    assert page.of_table_row("car") == ["25.0", "20.0", "25.0", "-5.0", "40"]
    assert page.of_table_row("road") == ["75.0", "70.0", "69.0", "+1.0", "60"]
    assert "one run with one seed" in page.text
    assert "docs/results/ablation.md" in page.text
    assert "Something is missing." in page.text
    assert (
        "Common classes are those that more than half of the frames have: car, road." in page.text
    )
    assert "Neither labeled nor predicted: bicycle," in page.text
    assert page.of_table_row("student before training")[0] == "1.00"


def test_scores_of_the_benchmark_and_of_several_passes_have_their_place(report):
    seen = {
        "augmentation": "flips",
        "passes": 4,
        "miou": 0.5,
        "benchmark_miou": 0.375,
        "accuracy": 0.8,
    }
    teacher, student, alone = report.networks
    student = dataclasses.replace(student, benchmark_miou=0.25, augmented=seen)
    page = Page(html_page(dataclasses.replace(report, networks=(teacher, student, alone))))
    row = page.of_table_row("student, flips, mean of 4 passes")
    assert row == ["50.00", "-", "37.50", "80.00", ""]
    assert page.of_table_row("student alone") == ["47.00", "23.50", "-", "75.00", "1,234"]
    assert "over the classes that its own tool counts" in page.text


def test_without_a_student_alone_the_page_says_that_it_cannot_say_what_distilling_gave(report):
    text = html_page(dataclasses.replace(report, networks=report.networks[:2]))
    page = Page(text)
    assert "cannot say what distilling gave" in page.text
    assert "one run with one seed" not in page.text
    assert "difference" not in page.text


def test_terms_gradients_times_and_agreement(report):
    page = Page(html_page(report))
    # Shares 3/4 and 1/2 of two steps; the norms of the first and of the last.
    assert page.of_table_row("ce") == ["62.5", "3", "1"]
    assert page.of_table_row("topology") == ["37.5", "1", "1"]
    assert ["student", "12", "3", "0.250"] in page.rows
    assert ["student alone, validation", "5", "", ""] in page.rows
    assert ["evaluation", "2", "", ""] in page.rows
    assert ["student", "0.625", "0.500", "4"] in page.rows
    text = html_page(dataclasses.replace(report, gradients=()))
    assert "--log-gradient-norms-every" in Page(text).text


def test_the_pictures_show_truth_predictions_and_errors(report):
    page = Page(html_page(report))
    # Truth, and for two networks the classes and the errors, from above and around.
    assert len(page.images) == 10
    assert len({image["src"] for image in page.images}) == 10
    assert "student against student alone" not in page.text
    assert "mIoU of this frame: teacher 100.0, student 25.0." in page.text
    assert "teacher, errors: 0.0 % of the points" in page.text
    assert "student, errors: 50.0 % of the points" in page.text
    for image in page.images:
        content = base64.b64decode(image["src"].partition(",")[2])
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            assert opened.size == (int(image["width"]), int(image["height"]))
            colors = {color for _, color in opened.convert("RGB").getcolors()}
        if image["alt"].startswith("From above") and "errors" in image["alt"]:
            red = (255, 64, 51)
            assert (red in colors) == ("student" in image["alt"])


def test_with_a_student_alone_a_picture_shows_which_of_the_two_is_right(report):
    (frame,) = report.frames
    # The student takes all for 8, which 100 points are; the student alone all for 0: 100 others.
    both = {"student": np.full(300, 8), "baseline": np.zeros(300, dtype=int)}
    page = Page(html_page(dataclasses.replace(
        report, frames=(dataclasses.replace(frame, predictions=both),)
    )))  # fmt: skip
    (image,) = [
        each for each in page.images
        if each["alt"].startswith("From above") and each["alt"].endswith("against student alone")
    ]  # fmt: skip
    with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as opened:
        colors = {color for _, color in opened.convert("RGB").getcolors()}
    green, red, amber, gray = (64, 217, 115), (255, 64, 51), (158, 120, 26), (76, 87, 97)
    assert {green, red} <= colors
    assert not {amber, gray} & colors


def test_everything_from_files_is_escaped(report):
    hostile = dataclasses.replace(
        report,
        settings=(("Method", HOSTILE), ("Networks", HOSTILE), ("Device", HOSTILE)),
        command=HOSTILE,
        losses=(Curve("student", HOSTILE, (1, 2), (1.0, 2.0)),),
        gradients=(GradientNorms("student", (HOSTILE, "b"), (1,), ((1.0, 1.0),)),),
        times=(StageTime(HOSTILE, 1.0, 0, None),),
        frames=tuple(dataclasses.replace(frame, name=HOSTILE) for frame in report.frames),
        notes=(HOSTILE,),
    )
    text = html_page(hostile)
    assert "<script" not in text
    tags = Page(text).tags
    assert [tag for tag, _ in tags].count("img") == 10


def test_a_confusion_matrix_has_shares_of_rows_and_leaves_out_what_never_occurs():
    counts = [[6, 2, 0, 0], [0, 0, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]]
    matrix = confusion_matrix(["road", "only predicted", "car", "never"], counts)
    assert matrix["columns"] == ["road", "only predicted", "car"]
    assert matrix["rows"] == [
        (
            "road",
            [
                ("hit", 0.75, "road taken for road: 75.0%"),
                ("miss", 0.25, "road taken for only predicted: 25.0%"),
                ("miss", 0.0, "road taken for car: 0.0%"),
            ],
        ),
        (
            "car",
            [
                ("miss", 0.25, "car taken for road: 25.0%"),
                ("miss", 0.0, "car taken for only predicted: 0.0%"),
                ("hit", 0.75, "car taken for car: 75.0%"),
            ],
        ),
    ]
    with pytest.raises(ValueError, match="3 names"):
        confusion_matrix(["a", "b", "c"], counts)


def test_the_page_draws_the_matrix_of_the_student(report):
    page = Page(html_page(report))
    cells = [attrs for tag, attrs in page.tags if tag == "td" and "title" in attrs]
    assert [(each["class"], each["style"], each["title"]) for each in cells] == [
        ("hit over", "--share:75.0%", "car taken for car: 75.0%"),
        ("miss", "--share:25.0%", "car taken for road: 25.0%"),
        ("miss", "--share:0.0%", "road taken for car: 0.0%"),
        ("hit over", "--share:100.0%", "road taken for road: 100.0%"),
    ]
    assert ["car", "75", "25"] in page.rows
    assert ["road", "", "100"] in page.rows


def test_a_run_of_a_teacher_alone_has_a_page(report):
    alone = dataclasses.replace(
        report, networks=report.networks[:1], untrained_miou=None, losses=(), validation=(),
        gradients=(), frames=(), notes=(), common_classes=(),
    )  # fmt: skip
    page = Page(html_page(alone))
    assert "Confusion matrix of the teacher" in page.text
    assert "Gradient shares" not in page.text
    assert "distilling" not in page.text
    assert page.images == []
