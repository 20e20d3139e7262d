"""Hosts that do nothing, for measuring what everything else costs."""

import time

from hie import BusinessOperation, BusinessProcess


class Plain(BusinessProcess):
    """Completes every message."""

    def on_message(self, message):
        return None


class Async(BusinessProcess):
    """Completes every message, on the event loop."""

    async def on_message(self, message):
        return None


class Forward(BusinessProcess):
    """Reads a field and sends the message on."""

    def on_message(self, message):
        message["PID-5.1"]
        return message


class Blocking(BusinessOperation):
    """Blocks for ten milliseconds, as a call of a slow library does."""

    def on_message(self, message):
        time.sleep(0.01)


class AsyncForward(BusinessProcess):
    """The same on the event loop."""

    async def on_message(self, message):
        message["PID-5.1"]
        return message
