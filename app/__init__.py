"""LW-BAFA face alignment as an HTTP service."""

import os

# OpenCV reads these once, when it is first imported, so they stand before every import of it. The
# first is a second guard behind our own limit, for headers that lie; the second keeps a line per
# damaged upload out of the log, which has its own.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
