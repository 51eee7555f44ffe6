"""REST, WebSocket, metrics and the page, over a mailbox: see `app.create_app` and `server.WebServer`.

Nothing is imported here: settings can be checked without loading a web framework.
"""
