"""Photographs in and out: sniffing, decoding, orientation, crops and drawing."""
