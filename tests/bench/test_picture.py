"""The picture."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from tests.bench.samples import results
from tools.bench.document import PICTURE
from tools.bench.picture import COLOURS, draw
from tools.bench.results import RESULTS, load


def texts(path):
    return {element.text for element in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}  # noqa: S314 - our own


def test_picture_says_what_it_shows(tmp_path):
    draw(results(), tmp_path / "results.svg")
    expected = {
        *COLOURS,
        "10",
        "990",
        "5,000",
        "Reading a history, seconds, 100 ms a request",
        "0.65",
        "5.3",
        "70",
    }
    assert expected <= texts(tmp_path / "results.svg")


def test_picture_is_the_same_for_the_same_results(tmp_path):
    draw(results(), tmp_path / "one.svg")
    draw(results(), tmp_path / "other.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_nothing_is_drawn_where_no_cold_read_was_measured(tmp_path):
    measured = results()
    others = [row for row in measured.rows if not row.scenario.startswith("cold read")]
    assert others
    draw(replace(measured, rows=others), tmp_path / "results.svg")
    assert not (tmp_path / "results.svg").exists()


def test_picture_in_the_repository_is_of_the_results_and_small(tmp_path):
    """Another version of matplotlib may set its bars elsewhere; what they say is the same."""
    draw(load(RESULTS), tmp_path / PICTURE.name)
    assert texts(tmp_path / PICTURE.name) == texts(PICTURE)
    assert PICTURE.stat().st_size < 60_000
