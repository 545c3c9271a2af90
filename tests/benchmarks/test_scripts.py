"""The scripts beside the runner, each at a tiny size."""

import json

import pytest

from benchmarks import inference_bounds, kernel_parts, kernel_variants

pytestmark = pytest.mark.slow


def printed(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_one_part_and_two_are_compared(capfd):
    arguments = "--rows 4 8 --timesteps 3 --units 4 --repeats 1"
    kernel_parts.main(arguments.split())
    rows = printed(capfd)
    assert [row["rows"] for row in rows] == [4, 8] * 2
    assert all(row["one part"] and row["two parts"] for row in rows)


def test_every_variant_is_measured(capfd):
    arguments = "--batch 4 --timesteps 10 --features 3 --units 4 --repeats 1"
    kernel_variants.main(arguments.split())
    rows = printed(capfd)
    variants = len(kernel_variants._VARIANTS)
    assert len(rows) == 2 * variants
    assert [row["ratio"] for row in rows[::variants]] == [1, 1]


def test_products_and_lstms_are_measured(capfd):
    arguments = "--preset tiny --repeats 1"
    inference_bounds.main(arguments.split())
    rows = printed(capfd)
    assert len(rows) == 3 * 2
    for row in rows:
        assert row["products, ms a token"] > 0
        assert row["LSTMs, ms a token"] > 0
