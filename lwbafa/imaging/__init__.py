"""Pictures, and the frames that coordinates are in.

*Photograph*: an image as it came, most often encoded. *Picture*: its pixels, decoded upright, at
1/shrink of its size. *Pixels*: the array itself. *Stored*: the file's own pixel grid. *Upright*: as
a person sees it, after the EXIF orientation. *Crop*: the square that the network reads.
"""
