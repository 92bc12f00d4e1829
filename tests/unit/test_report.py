"""The page stands alone, says what it cannot show, warns before sharing, and is the same for the same results."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from abaw_pipeline.__main__ import main
from abaw_pipeline.config import Settings, as_json
from abaw_pipeline.evaluation import figures, report
from abaw_pipeline.evaluation.results import Results
from tests.unit.synthetic_results import make_results
from tests.unit.test_select import run_select
from tests.unit.test_submission import submit

BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
AUDIT = """# Audit

## Totals

| | training | all |
|---|---:|---:|
| trials | 8 | 14 |

## Findings

- **rows excluded for -5**: 1 of 14 trials, 7 rows in all: `video03` (7 rows)
"""
COVERAGE = """video,partition,videos,frames,word_share,words,seconds,words_per_minute,mean_confidence,empty_transcripts,note
video00,train,1,60,0.0000,0,2.00,0.0,,1,no word recognised
(all train),train,8,760,0.7531,66,25.30,156.5,0.668,1,
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with everything that a report shows."""
    results = make_results(tmp_path_factory.mktemp("report"))
    assert run_select(results) == 0
    assert submit(results, truth=True) == 0
    (results / "benchmarks" / "wav").mkdir(parents=True)
    (results / "benchmarks" / "wav" / "video1.tsv").write_text(BENCHMARK + "2.5\t0:00:02\t120.5\t1\t1\t1\t0\t0\t50\t2.0\n")
    (results / "benchmarks" / "select.tsv").write_text(BENCHMARK + "0.1\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n")
    (results / "report" / "audit").mkdir(parents=True)
    (results / "report" / "audit" / "audit.md").write_text(AUDIT)
    (results / "report" / "coverage").mkdir()
    (results / "report" / "coverage" / "coverage.csv").write_text(COVERAGE)
    return results


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """One model and one fold, for pages that are written again and again."""
    results = make_results(tmp_path, models=("can",), folds=1, seeds=1)
    assert run_select(results) == 0
    return results


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures, for tests of the page's words: drawing is most of a page's time."""

    def save(figure: Figure, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".svg", ".png"):
            stem.with_name(stem.name + suffix).touch()

    monkeypatch.setattr(figures, "save", save)


def write(results: Path, settings: str = "{}") -> str:
    assert main(["report", "--results", str(results), "--settings", settings, "--output", str(results / "report")]) == 0
    return (results / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return write(finished)


class Page(HTMLParser):
    """Collects images, links, anchors and sections, and notices tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        self.links += [str(values["href"])] if "href" in values else []
        if tag == "img":
            self.images.append(values)
        elif tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    assert not parsed.open
    assert all(str(image["src"]).startswith("data:image/") for image in parsed.images)
    assert not re.search(r"(src|href)=\"(https?:)?//", page) and "@import" not in page and "<script" not in page
    assert {link for link in parsed.links if link.startswith("#")} == {f"#{name}" for name in parsed.ids}


def test_every_figure_has_words_and_lies_beside_the_page_as_svg_and_png(page: str, finished: Path) -> None:
    images = Page(page).images
    assert len(images) == 2 * 2 + 12 + 6 + 4 + 4 + 1
    assert all(len(str(image["alt"])) > 30 for image in images)
    folder = finished / "report" / "figures"
    stems = {path.stem for path in folder.iterdir()}
    assert len(stems) == len(images)
    assert all((folder / f"{stem}{suffix}").stat().st_size > 500 for stem in stems for suffix in (".svg", ".png"))


def test_the_page_holds_the_numbers_of_the_run(page: str, finished: Path) -> None:
    selection = Results(finished).json("selection.json")
    scores = Results(finished).json("submission/scores.json")
    assert report.number(selection["submissions"][0]["validation"]["mean"]) in page
    assert report.number(scores["1.txt"]["mean"]) in page
    assert "rows excluded for -5: 1 of 14 trials" in page
    assert "backbones start from random weights (12 instances)" in page
    assert "video00: no word recognised" in page and "0.7531" in page
    assert "2.5 s" in page and "24 of 24" in page


def test_the_same_results_give_the_same_page_and_figures(small: Path) -> None:
    contents = []
    for _ in range(2):
        write(small)
        contents.append({path.name: path.read_bytes() for path in (small / "report").rglob("*.*")})
    assert contents[0] == contents[1] and len(contents[0]) > 20


def test_a_licensed_corpus_is_not_to_be_shared_and_stands_beside_the_paper(page: str, small: Path, undrawn: None) -> None:
    assert "Do not share" not in page and "synthetic" in page and "0.423" not in page
    licensed = write(small, as_json(Settings(corpus="affwild2")))
    assert licensed.index("Do not share this page") < licensed.index("<h2>")
    assert "0.423" in licensed


def test_faces_are_shown_unless_declined(page: str, small: Path, undrawn: None) -> None:
    assert page.count("data:image/png") == 6
    assert "data:image/png" not in write(small, '{"report": {"frames": false, "bootstrap": 0}}')


def test_what_was_padded_trimmed_or_clipped_stands_under_the_submissions(page: str, small: Path, undrawn: None) -> None:
    assert "and no value clipped" in page
    (small / "submission").mkdir()
    head = "file,trial,template_rows,predicted_rows,padded,trimmed,clipped,note\n"
    rows = "1.txt,a,9,8,1,0,0,\n1.txt,b,9,9,0,0,4,\n2.txt,a,9,8,1,0,0,\n2.txt,b,9,9,0,0,3,\n1.txt,c,9,9,0,0,0,\n"
    (small / "submission" / "repairs.csv").write_text(head + rows)
    text = write(small)
    assert "2 trials were padded (last value) or trimmed" in text and "or had values clipped" in text
    assert re.search(r"<tr><td[^>]*>b</td>.*>7</td></tr>", text)


def test_parts_that_are_absent_are_named_instead(finished: Path, tmp_path: Path, undrawn: None) -> None:
    (tmp_path / "empty").mkdir()
    text = write(tmp_path / "empty")
    for words in (
        "selection.json is absent",
        "No usable instance",
        "audit stage has not run",
        "coverage.csv is absent",
        "No benchmark files",
    ):
        assert words in text
    partial = tmp_path / "partial"
    shutil.copytree(finished / "runs" / "can" / "valence", partial / "runs" / "can" / "valence")
    assert "can valence" in write(partial) or "can, valence" in write(partial)


def test_releases_are_where_the_group_changes() -> None:
    history = pd.DataFrame({"epoch": [0, 1, 2, 3], "group": [1, 1, 2, 3]})
    assert figures.releases(history) == [(2, 2), (3, 3)]


def test_numbers_and_durations_read_well() -> None:
    assert report.number(-0.1234) == "−0.123" and report.number(float("nan")) == "–"
    assert [report.duration(value) for value in (2.345, 59.7, 200, 18600)] == ["2.3 s", "1 min 00 s", "3 min 20 s", "5 h 10 min"]
