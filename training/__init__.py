"""Training and evaluation of LW-BAFA; imports the network and the crop, no web code."""
