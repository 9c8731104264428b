"""What a user of the training tool can set right; the message says what is wrong."""


class TrainingError(Exception):
    """Root of what the tool raises on purpose."""


class DatasetError(TrainingError):
    """A data file is missing or broken; the message names it."""


class RecipeError(TrainingError):
    """A recipe is not valid; the message says what is wrong."""


class RunError(TrainingError):
    """A run's folder or its first weights do not fit the recipe."""
