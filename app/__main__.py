"""`python -m app`."""

import os
import signal

if __name__ == "__main__":
    # A container's first process ignores what it does not handle, and the libraries load for long.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    from app.server.start import main

    main()
