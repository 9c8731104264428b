"""`python -m app` serves, as `lwbafa serve` does."""

from app.cli import serve

if __name__ == "__main__":
    serve(prog_name="python -m app")
