"""What `make docker-check` runs: the image, Compose and several instances on a Docker engine."""
