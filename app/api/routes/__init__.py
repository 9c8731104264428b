"""The endpoints, one module each; `app.api.app` includes their routers."""
