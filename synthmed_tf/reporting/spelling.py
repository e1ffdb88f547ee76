"""How the numbers of a report are spelt, on the page and on the terminal."""

import math

UNDEFINED = "not defined"


def is_number(value):
    """Whether a value of report.json is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def spell_number(value, spec=".3f"):
    """A number by a format specification; None, NaN and infinities are "not defined"."""
    return format(value, spec) if is_number(value) else UNDEFINED


def spell_mean(entry, spec=".3f", sign="±"):
    """{"mean", "sd"} as "0.761 ± 0.004"; the mean alone where one run has no spread."""
    if not entry or not is_number(entry.get("mean")):
        return UNDEFINED
    spread = f" {sign} {entry['sd']:{spec}}" if is_number(entry.get("sd")) else ""
    return f"{entry['mean']:{spec}}{spread}"


def spell_percent(share, spec=".1f"):
    """A share as a percentage."""
    return f"{100 * share:{spec}} %" if is_number(share) else UNDEFINED


def spell_brackets(interval, spec=".3f"):
    """(low, high) as "[0.951, 0.985]"; nothing where there is none."""
    return f"[{interval[0]:{spec}}, {interval[1]:{spec}}]" if interval else ""


def spell_span(interval, spec=".3f", factor=1):
    """(low, high) as "0.951 to 0.985"."""
    return f"{factor * interval[0]:{spec}} to {factor * interval[1]:{spec}}" if interval else UNDEFINED


def spell_duration(seconds):
    """Seconds as whole minutes, or as seconds below two minutes."""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
