"""Micro-batching across callers: an async front, one thread that owns the device behind it.

Imports no torch and knows no images: it moves items to a function that takes many at once.
"""

from app.batching.batcher import Batcher, BatchReport
from app.batching.device import Device
from app.batching.jobs import Completed
from app.batching.time_model import BatchTimeModel

__all__ = ["BatchReport", "BatchTimeModel", "Batcher", "Completed", "Device"]
