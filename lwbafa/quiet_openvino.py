"""OpenVINO, kept from reporting its use, with room for photographs of many shapes.

Its every import and conversion is reported to its maker over the network, unless the package that
does so cannot be found. So this comes before any other import of OpenVINO or of NNCF.
"""

import os
import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

# YuNet's code for one shape of photographs is 57 of oneDNN's primitives, 23 KiB each, for all
# threads. Of its own 1,024 those of some twenty shapes are kept, and the others made again each
# time. Photographs of 960 pixels come in sixty. Read when the first primitive is made.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")

import openvino as ov  # noqa: E402
from openvino import opset15 as ops  # noqa: E402

__all__ = ["ops", "ov"]
