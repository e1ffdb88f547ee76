"""Study groups of chest X-rays, by gender and age (P2 table 1), and the tasks that follow from them (P2 table 2).

A class is named "female 18-38": the gender, and the first and last age in years that belong to it.
"""

import re

from synthmed_tf.sample import InputError

GENDERS = ("female", "male")
YOUNG, MATURE = (18, 38), (48, 68)  # P2 table 2, years
BINS = {  # years, first and last
    # P2 table 1, as printed: 15 bins, with both genders the 30 groups that it names beside X-Norm.
    "x_norm_l": (
        (18, 19), (20, 21), (22, 23), (24, 25), (26, 27), (28, 30), (31, 33), (34, 36), (37, 39), (40, 44), (45, 49),
        (50, 54), (55, 60), (61, 66), (67, 77),
    ),
    # P2 table 1 prints 18-19, 20-21, ..., 67-68: bins of two years end at 67, not at 68. Read as bins of two years,
    # 18-19 to 66-67, ...
    "x_norm_2": tuple((age, age + 1) for age in range(18, 67, 2)),
    # ... or as the 34 groups that it names: 17 bins of three years from 18 to 68, with both genders.
    "x_norm": tuple((age, age + 2) for age in range(18, 67, 3)),
    # Default: what the two age groups of P2's benchmark need and no more, for sets of a few hundred images.
    "young_mature": (YOUNG, (39, 47), MATURE),
}  # fmt: skip
DEFAULT = "young_mature"
OLDEST = 120  # years; the official NIH table has ages up to 414, typing errors
_DATE = re.compile(r"\d+(?:[-./]\d+){2}|\d{4}[-./]\d+")
_AGE = re.compile(  # not -5; 45M is in months, but 45 M is a man
    r"(?<!\d)(?<!(?<!\S)-)(\d{1,3})(?!\d)(?:(m)\b|[ \t-]*(y|mo|mth|we|wk|w\b|da|d\b))?", re.IGNORECASE
)
_A_YEAR = {"y": 1, "m": 12, "w": 52, "d": 365}  # years, months, weeks, days in a year


def parse_bins(text):
    """A name in BINS, or "18-38,39-47,48-68" -> ((first, last), ...) in years.

    Raises:
      InputError: neither, a bin that ends before it begins, or bins that overlap.
    """
    if text in BINS:
        return BINS[text]
    matches = [re.fullmatch(r"\s*(\d{1,3})-(\d{1,3})\s*", part) for part in text.split(",")]
    if not all(matches):
        raise InputError(f"--labels={text}: age bins are {', '.join(BINS)}, or years such as 18-38,39-47,48-68")
    bins = sorted((int(match[1]), int(match[2])) for match in matches)
    if any(first > last for first, last in bins) or any(a[1] >= b[0] for a, b in zip(bins, bins[1:])):
        raise InputError(f"--labels={text}: age bins must not overlap, and each ends at or after its first year")
    return tuple(bins)


def label_person(gender, age, bins):
    """Name of the class of a person; None where no bin holds the age.

    Args:
      gender: "female" or "male". age: years. bins: from `parse_bins`.
    """
    return next((f"{gender} {first}-{last}" for first, last in bins if first <= age <= last), None)


def parse_age(text):
    """The first number in "58", "058Y", "33 yrs", "16month" or "64days" as whole years.

    Dates do not count. None: there is no number, or one over OLDEST.
    """
    match = _AGE.search(_DATE.sub(" ", text))
    age = match and int(match[1]) // _A_YEAR[(match[2] or match[3] or "y")[0].lower()]
    return age if match and age <= OLDEST else None


def label_xrays(data, xrays, labels=None):
    """Gives chest X-rays their study groups.

    Args:
      data: name of the set, for messages.
      xrays: [(files.Entry, gender, age in years)], gender and age None where they are not known.
      labels: age bins, see `parse_bins`; None: DEFAULT.

    Returns:
      list of Entry; label None where no bin holds the age.

    Raises:
      InputError: `parse_bins`, or no X-ray in any bin.
    """
    labels = DEFAULT if labels is None else labels
    bins = parse_bins(labels)
    entries = [
        entry._replace(label=label_person(gender, age, bins) if gender is not None and age is not None else None)
        for entry, gender, age in xrays
    ]
    if all(entry.label is None for entry in entries):
        raise InputError(
            f"--labels={labels}: none of the {len(xrays)} images of {data} has an age in these bins; give others"
        )
    return entries


def parse_label(name):
    """The name of a class -> (gender, first year, last year); None where it is no study group."""
    match = re.fullmatch(rf"({'|'.join(GENDERS)}) (\d+)-(\d+)", name)
    return match and (match[1], int(match[2]), int(match[3]))


def list_tasks(class_names, young=YOUNG, mature=MATURE):
    """Lists the benchmark tasks that a set's classes allow.

    P2 table 2: study groups are told apart by gender and by age group, other classes as they are ("class"). An age bin
    belongs to an age group if all of it lies within. A task that would have one class only is left out.

    Args:
      class_names: of the set. young, mature: first and last year of the two age groups.

    Returns:
      {task: {class name: class of the task}}; classes that are left out have no part in the task.
    """
    groups = {name: parse_label(name) for name in class_names}
    if not all(groups.values()):
        tasks = {"class": {name: name for name in class_names}}
    else:
        ages = {"young": young, "mature": mature}
        tasks = {
            "gender": {name: gender for name, (gender, _, _) in groups.items()},
            "age group": {
                name: age
                for name, (_, first, last) in groups.items()
                for age, (low, high) in ages.items()
                if low <= first and last <= high
            },
        }
    return {task: classes for task, classes in tasks.items() if len(set(classes.values())) > 1}
