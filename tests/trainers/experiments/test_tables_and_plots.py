import csv

import pytest

from trainers.experiments import plots, tables


def test_a_table_reads_the_same_in_both_formats(tmp_path):
    rows = [
        {"row": "full", "paper": 6.86, **tables.summary([7.0, 8.0, 10.5])},
        {"row": "a|b", "paper": None, **tables.summary([])},
    ]
    columns = {"row": "row", "paper": "paper", **tables.SUMMARY_COLUMNS}
    tables.write_table(tmp_path / "t", "Title", columns, rows, ["A note."])
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert lines[0] == "# Title"
    assert lines[4] == "| full | 6.86 | 8.50 | 7.00 | 10.50 | 3 | 7 8 10.5 |"
    assert lines[5] == "| a\\|b | – | – | – | – | 0 | – |"
    assert lines[-1] == "A note."
    with open(tmp_path / "t.csv") as file:
        read = list(csv.DictReader(file))
    assert read[0]["mean"] == "8.5" and read[1]["row"] == "a|b"
    assert not list(tmp_path.glob("*partial*"))


def test_small_numbers_keep_their_digits(tmp_path):
    rows = [{"learning_rate": 0.00123456}, {"learning_rate": 0.0}]
    tables.write_table(tmp_path / "t", "T", {"learning_rate": "rate"}, rows)
    lines = (tmp_path / "t.md").read_text().splitlines()
    assert lines[4:] == ["| 0.00123 |", "| 0.00 |"]


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(
        plots, "_save", lambda figure, _: figures.append(figure)
    )
    return figures


def test_a_sweep_shows_each_seed_and_marks_the_papers_value(drawn):
    trials = [(6.0, [9.0, 8.0]), (1.0, [5.0, 7.0]), (2.6, [4.0, 5.0])]
    plots.sweep("unused", "title", "decay_factor", trials, marked=2.6)
    (axes,) = drawn[0].axes
    points = {tuple(point) for point in axes.collections[0].get_offsets()}
    assert points == {
        (value, error) for value, errors in trials for error in errors
    }
    mean, mark = axes.lines
    assert list(mean.get_xdata()) == [1.0, 2.6, 6.0]
    assert list(mean.get_ydata()) == [6.0, 4.5, 8.5]
    assert set(mark.get_xdata()) == {2.6}


def test_a_field_that_is_sampled_by_its_logarithm_is_drawn_so(drawn):
    trials = [(0.001, [9.0]), (0.03, [8.0, None]), (0.01, [None])]
    plots.sweep("unused", "title", "learning_rate", trials, is_log=True)
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    mean, diverged = axes.lines
    assert list(mean.get_xdata()) == [0.001, 0.03]
    assert sorted(diverged.get_xdata()) == [0.01, 0.03]
    assert diverged.get_label() == "diverged"


def test_a_line_joins_means_only_where_they_are_of_one_field(drawn):
    numbers = [(1.0, [9.0]), (2.0, [8.0])]
    names = [("full", [9.0]), ("last", [8.0])]
    plots.sweep("unused", "title", "ratio", numbers)
    plots.sweep("unused", "title", "ratio", numbers, joined=False)
    plots.sweep("unused", "title", "unfreezing", names)
    styles = [figure.axes[0].lines[0].get_linestyle() for figure in drawn]
    assert styles == ["-", "None", "None"]


@pytest.mark.parametrize(
    "low, high, some",
    [
        (0.001, 0.03, {"0.001", "0.01", "0.03"}),
        (0.05, 1.0, {"0.1", "1"}),
        (5, 50, {"10", "20"}),
        (2.0, 128.0, {"10", "100"}),
        (6, 9, {"6", "8"}),
    ],
)
def test_logarithmic_fields_have_plain_numbers_at_their_axis(
    low, high, some, drawn
):
    trials = [(low, [9.0]), (high, [8.0])]
    plots.sweep("unused", "title", "ratio", trials, is_log=True)
    (axes,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    labels = {
        label.get_text()
        for minor in (False, True)
        for label in axes.get_xticklabels(minor=minor)
    } - {""}
    assert some <= labels
    assert all(float(label) > 0 for label in labels)


def test_bands_of_a_learning_curve_are_the_range_of_the_seeds(drawn, tmp_path):
    curves = {"one": [(50, [9.0, 12.0]), (100, [6.0, 7.0])]}
    plots.learning_curve("unused", "title", curves)
    (axes,) = drawn[0].axes
    assert list(axes.lines[0].get_ydata()) == [10.5, 6.5]
    corners = axes.collections[0].get_paths()[0].vertices
    assert {9.0, 12.0, 6.0, 7.0} <= set(corners[:, 1])


def test_plots_are_png_files_for_names_and_numbers(tmp_path):
    plots.sweep(
        tmp_path / "a.png",
        "$x$",
        "unfreezing",
        [("full", [1.0]), ("last", [2])],
    )
    plots.learning_curve(tmp_path / "b.png", "t", {"m": [(50, [1.0])]})
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes()[1:4] == b"PNG"
