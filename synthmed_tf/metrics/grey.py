"""The weights that turn colours into grey, which all metrics share."""

LUMA = (0.299, 0.587, 0.114)  # red, green, blue -> grey, ITU-R BT.601, as Pillow's and OpenCV's grey conversion
