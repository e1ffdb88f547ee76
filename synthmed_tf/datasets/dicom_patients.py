"""The patients of DICOM files that no table names. Reads their headers alone, and needs pydicom (the extra `dicom`)."""

import collections
import warnings

from synthmed_tf.datasets.group_columns import names_nothing
from synthmed_tf.images.decode import DICOM_SUFFIXES
from synthmed_tf.progress import show_progress

TAG = "DICOM PatientID"
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax: such files unpack to any size before a tag can be read
_META_BYTES = 2**12  # in which the transfer syntax stands


def add_patients(listed, shown):
    """Entries with their files' PatientID as the group, where all are DICOM and it says which belong together.

    It does not where it differs in each file, where it is the same in all, as after anonymising, or lacks in one.

    Args:
      listed: list of Entry. shown: the folder, for messages.
    """
    if not all(entry.image.name.lower().endswith(DICOM_SUFFIXES) for entry in listed):
        return listed
    try:
        import pydicom
    except ImportError:  # reading the images will say so
        return listed
    bar = show_progress(listed, f"patients of {shown}", unit="file", delay=2)
    patients = [_read_patient(pydicom, entry.image) for entry in bar]
    counts = collections.Counter(patient for patient in patients if not names_nothing(patient))
    if sum(counts.values()) < len(listed):
        if len(counts) > 1 and max(counts.values()) > 1:
            warnings.warn(
                f"{shown}: {len(listed) - sum(counts.values())} of {len(listed)} DICOM files have no PatientID, so it "
                "is not used and each image counts as a patient of its own; name the patients in a table",
                stacklevel=3,
            )
        return listed
    if not 1 < len(counts) < len(listed):
        return listed
    return [
        entry._replace(group=patient, group_column=TAG, is_from_table=True)
        for entry, patient in zip(listed, patients, strict=True)
    ]


def _read_patient(pydicom, file):
    """The PatientID of a DICOM File as one line of text, "" where it cannot be read."""
    try:
        with warnings.catch_warnings(), file.open() as stream:
            warnings.simplefilter("ignore")
            if _DEFLATED in stream.read(_META_BYTES):
                return ""
            stream.seek(0)
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["PatientID"])
            return " ".join(str(header.get("PatientID") or "").split())
    except Exception:  # a parser of hostile bytes may raise anything, and reading the image will say what is wrong
        return ""
