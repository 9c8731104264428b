"""The HTTP surface: routes, schemas, uploads and problem answers."""
