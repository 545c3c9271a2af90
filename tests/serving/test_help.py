import argparse

import pytest

from serving.command_line import HelpFormatter


def told(**flag):
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    parser.add_argument("--flag", **flag)
    return " ".join(parser.format_help().split("--flag")[-1].split())


@pytest.mark.parametrize(
    "default, text, expected",
    [
        (50, "so", "FLAG so (default: 50)"),
        # What is no more than false is told.
        (0, "so", "FLAG so (default: 0)"),
        ("50%", "so", "FLAG so (default: 50%)"),
        (None, "so", "FLAG so"),
        ("", "so", "FLAG so"),
        (argparse.SUPPRESS, "so", "FLAG so"),
        (3, "so, by default three", "FLAG so, by default three"),
    ],
)
def test_a_default_is_told_once_if_there_is_one(default, text, expected):
    assert told(default=default, help=text) == expected


def test_a_switch_has_no_default_to_tell():
    assert told(action="store_true", help="so") == "so"
