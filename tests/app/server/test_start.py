"""Where the process starts."""

import pytest

from app.errors import StartupError
from app.server.start import listen
from app.settings import Settings


@pytest.mark.parametrize("host", ["192.0.2.1", "no host.invalid", "gesichter..örtlich"])
def test_an_address_that_cannot_be_listened_on_is_said(host: str) -> None:
    with pytest.raises(StartupError, match=f"cannot listen on {host}:0: "):
        listen(Settings(host=host, port=0))
