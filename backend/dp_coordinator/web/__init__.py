"""REST, WebSocket, metrics and the page, over a mailbox. See `create_app`."""

from dp_coordinator.web.app import Application, create_app
from dp_coordinator.web.server import WebServer
from dp_coordinator.web.settings import ConfigurationError, WebSettings, check_exposure

__all__ = ["Application", "ConfigurationError", "WebServer", "WebSettings", "check_exposure", "create_app"]
