"""A row's results as text."""


def format_row(summary):
    """Returns the table of one row's cases and ratios."""
    lines = [f"{summary['title']} [{summary['unit']}]"]
    for name, case in summary["cases"].items():
        low, high = case["quartiles"]
        lines.append(
            f"  {name:44} {case['median']:10.4g} ({low:.4g} to {high:.4g})"
        )
    for name, ratio in summary["ratios"].items():
        lines.append(f"  {name:44} {ratio['ratio']:9.2f}x{_target(ratio)}")
    return "\n".join(lines)


def _target(ratio):
    if ratio["met"] is None:
        return ""
    at_least = ratio["at_least"] is not None
    limit = ratio["at_least"] if at_least else ratio["at_most"]
    return (
        f"  {'at least' if at_least else 'at most'} {limit:g}x: "
        f"{'met' if ratio['met'] else 'MISSED'}"
    )
