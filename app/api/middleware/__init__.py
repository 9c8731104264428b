"""ASGI middleware, one class a file; `app.api.app` puts them in order."""
