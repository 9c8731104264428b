"""The paper's own tables beside ours, and what each departure of our recipe brings."""
