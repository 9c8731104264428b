"""Why no traffic should come here, or why only a restart helps."""

from app.batching import Device
from app.workers import Workers


class Readiness:
    """What the parts of the service and its lifecycle say, put together."""

    def __init__(self, device: Device, workers: Workers) -> None:
        self._device = device
        self._workers = workers
        self.draining = False
        self.stopping = False

    @property
    def failure(self) -> str | None:
        """Why only a restart helps; None while this process can answer requests."""
        return self._device.failure or self._workers.failure

    @property
    def leaving(self) -> bool:
        """Whether this process is about to end, well or not."""
        return self.draining or self.stopping or self.failure is not None

    def not_ready_reasons(self) -> list[str]:
        """Why no traffic should come here now; empty when ready."""
        return ["draining"] * self.draining + self.not_admitting_reasons()

    def not_admitting_reasons(self) -> list[str]:
        """Why a request that comes all the same is refused; empty when it is not."""
        reasons = ["stopping"] * self.stopping
        if self.failure:
            return [*reasons, self.failure]
        if not self._device.prepared:
            reasons.append("network is warming up")
        if not self._workers.ready:
            reasons.append("detector is warming up")
        return reasons
