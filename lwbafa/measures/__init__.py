"""What can be told of a face from its landmarks and its crop: pose, openings, quality, chips."""
