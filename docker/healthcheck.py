"""Ends with 0 if the service in this container is ready: the image's HEALTHCHECK, without a shell."""

import os
import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(os.environ.get("LWBAFA_PORT", "8000")), timeout=4)
connection.request("GET", "/readyz")
sys.exit(connection.getresponse().status != 200)
