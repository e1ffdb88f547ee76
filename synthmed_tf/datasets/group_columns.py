"""Which column of a table says what images belong together: by the words of its heading, or by how its values repeat.

What belongs together are images of one patient or, where no column names patients, of one lesion, eye, study or slide.
"""

import collections
import re
import unicodedata

# Stems of words for persons that mean nothing else: English, German, French, Spanish, Portuguese, Italian, Polish,
# Finnish, Indonesian, Russian, Ukrainian, Chinese and Japanese, Korean
_PERSONS = (
    "patient|pacient|pazient|pacjent|potila|pasien|пациент|пациєнт|患者|病人|환자|pid|ptid|mrn|person|subject|subjekt|"
    "sujet|sujeto|soggett|participant|proband|volunteer|donor|donneur|donante|surname|lastname|fullname"
)
_STEMS = (  # the widest first. A word of the last ones alone may mean a kind as well
    "group",
    f"{_PERSONS}|pt|pat|sub|subj|individual|animal|tier|mouse|spender|hasta",
    "case|fall|cas|caso|症例|病例",
    "lesion|lasion|laesion|nodule|tumou?r|病変|病灶",
    "eye|auge|oeil|ojo|occhio|眼",
    "study|studi|etude|estudi|exam|examination|visit|accession|encounter|検査|检查",
    "series|serie",
    "slide|wsi|specimen|biops|sample|block|section|schnitt|praparat|preparat|lame|lamina|vetrino|切片",
)
_NUMBER = (
    "instanceuid|identifier|id|ids|uid|instance|number|nummer|numer|numero|num|no|nr|n|name|key|code|kennung|"
    "番号|编号|编码|号|번호|номер"
)
_ENDING = "(?:[a-zа-я]{1,2})?"  # of a plural or a case
_PLAIN = re.compile(rf"(?:(?:{_PERSONS}){_ENDING}|group|case|study|slide|wsi)(?:{_NUMBER})?")  # whatever its values are
_WORDS = [re.compile(rf"(?P<before>{_NUMBER})?(?:{stems}){_ENDING}(?P<after>{_NUMBER})?") for stems in _STEMS]
_PERSON = re.compile(rf"(?:{_NUMBER})?(?:{_PERSONS}){_ENDING}(?:{_NUMBER})?")
_NUMBERS = re.compile(_NUMBER)
_FILLERS = re.compile(r"s|of|the|de|du|des|del|della|di|da|do|der|la|le|el|il|dicom|isic|anon\w*|pseudo\w*|hash\w*")
# Words of what is measured or told of an image: such a column says nothing of what belongs together
_TOLD = re.compile(
    r"(?:.{4,})?(?:alter|geschlecht)|.*(?:年齢|年龄|性別|性别|나이|성별)|ages?|edad|idade|eta|leeftijd|alder|wiek|возраст|"
    r"sex|gender|sexo|sexe|sesso|years?|months?|days?|weight|height|width|rows?|columns?|cols?|size|length|x|y|z|"
    r"dates?|times?|datum|fecha|data|birth|birthday|dob|position|view|projection|orientation|laterality|side|seite|"
    r"diagnos[ie]s|dx|findings?|labels?|class|classes|types?|category|grades?|stage|score|status|outcome|target|"
    r"groups?|split|fold|set|race|ethnicity|counts?|bits|pixels?|spacing|thickness|dose|kvp|exposure|hospital|site|"
    r"cohort|arm|locali[sz]ation|location|region|body|part|description|protocol|manufacturer|model|device|scanner"
)
_NOTHING = {"", "na", "n/a", "nan", "none", "null", "unknown", "unbekannt", "-", "--", "?", "."}


def find_named(contents):
    """The columns whose headings name what belongs together, the widest first.

    Args:
      contents: {column: [cell of each image]}.
    """
    ranks = {column: _rank(column, cells) for column, cells in contents.items()}
    return sorted((column for column in contents if ranks[column] is not None), key=ranks.get)


def find_candidates(contents):
    """The columns that may say what belongs together.

    Their values repeat as names of groups do, or their headings speak of persons and values repeat. Arguments are those
    of `find_named`.
    """
    return [
        column
        for column, cells in contents.items()
        if not _is_told(words := _split_words(column))
        and (_repeats(cells) or (any(map(_PERSON.fullmatch, words)) and len(set(cells)) < len(cells)))
    ]


def are_persons(names):
    """Whether names are those of persons, such as patient_01, or of ten or more that differ in their numbers alone."""
    are_numbered = len({re.sub(r"\d+", "", name) for name in names}) == 1
    words = [_split_words(name) for name in names]
    return (len(names) >= 10 and are_numbered) or all(any(map(_PERSON.fullmatch, own)) for own in words)


def names_nothing(cell):
    """Whether the cell of a group stands for "not known"."""
    return cell.casefold() in _NOTHING


def _rank(column, cells):
    """The place in _STEMS of what a heading names; None: it names no groups."""
    words = _split_words(column)
    heading = "".join(words)
    matches = [stems.fullmatch(heading) or next(filter(None, map(stems.fullmatch, words)), None) for stems in _WORDS]
    rank = next((rank for rank, match in enumerate(matches) if match), None)
    if _PLAIN.fullmatch(heading):
        return rank
    if rank is None or _is_told(words):
        return None
    others = [word for word in words if matches[rank][0] not in (word, heading)]
    numbers = [*matches[rank].groups(), *filter(_NUMBERS.fullmatch, others)]
    are_plain = all(_NUMBERS.fullmatch(word) or _FILLERS.fullmatch(word) for word in others)
    is_certain = are_plain and any(numbers) and len(set(cells)) > 2  # "eye_id" may be left and right
    return rank if is_certain or _repeats(cells) else None


def _is_told(words):
    return any(map(_TOLD.fullmatch, words))


def _split_words(heading):
    """A heading's words without accents, in lower case: "PatientID" -> patient, id; "Nº paciente" -> no, paciente."""
    letters = [x for x in unicodedata.normalize("NFKD", heading) if unicodedata.category(x) != "Mn"]
    letters = unicodedata.normalize("NFC", "".join(letters))
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|(?:(?![A-Za-z\d_])\w)+", letters)
    return [word.casefold() for word in words]


def _repeats(cells):
    """Whether cells repeat as names of groups do: text or whole numbers, many of them, several images each."""
    counts = collections.Counter(cell for cell in cells if not names_nothing(cell))
    total, repeated = sum(counts.values()), sum(count for count in counts.values() if count > 1)
    return (
        len(counts) >= max(3, min(10, total / 4))  # fewer are classes, hospitals or cameras
        and repeated >= max(4, total / 20)
        and max(counts.values()) <= total / 2
        and not all(re.fullmatch(r"[-+]?\d*[.,]\d+(?:[eE][-+]?\d+)?", cell) for cell in counts)  # measurements
    )
