"""Programs that show the service's promises on real processes, and the harness they share."""
