"""OpenVINO, kept from reporting its use.

Its every import and conversion is reported to its maker over the network, unless the package that
does so cannot be found. So this comes before any other import of OpenVINO or of NNCF.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov  # noqa: E402
from openvino import opset15 as ops  # noqa: E402

__all__ = ["ops", "ov"]
