"""`python -m app`."""

import os
import signal

# A container's first process ignores what it does not handle, and the libraries load for seconds.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from app.server import main  # noqa: E402

if __name__ == "__main__":
    main()
