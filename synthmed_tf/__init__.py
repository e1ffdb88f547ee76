"""synthmed_tf: synthetic medical images from dual GANs, with a report on their use, faithfulness and privacy."""

__version__ = "0.1.0"
