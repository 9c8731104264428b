"""Measurements that anyone can repeat; speed is shown as ratios within one run."""
