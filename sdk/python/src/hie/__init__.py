"""Hosts for HIE, the healthcare integration engine.

    from hie import BusinessProcess, Setting

    class Upper(BusinessProcess):
        '''Writes the family name in capitals.'''
        path: str = Setting("PID-5.1", doc="Which field.")

        def on_message(self, message):
            message[self.path] = (message[self.path] or "").upper()
            return message

See the README of the SDK for what each hook does, and ``hie.testing`` for tests without an engine.
"""

from hie.hl7 import HL7Error, HL7Message, PathError, Segment
from hie.host import BusinessOperation, BusinessProcess, BusinessService
from hie.message import (
    Accepted,
    Deadlock,
    Message,
    Pattern,
    Priority,
    QueueFull,
    Reject,
    Reply,
    RequestError,
    RequestTimeout,
    Result,
    Retry,
    Send,
    Stopping,
    UnknownTarget,
)
from hie.settings import Setting, SettingError

__version__ = "0.1.0"

__all__ = [
    "Accepted", "BusinessOperation", "BusinessProcess", "BusinessService", "Deadlock", "HL7Error",
    "HL7Message", "Message", "PathError", "Pattern", "Priority", "QueueFull", "Reject", "Reply",
    "RequestError", "RequestTimeout", "Result", "Retry", "Segment", "Send", "Setting",
    "SettingError", "Stopping", "UnknownTarget",
]  # fmt: skip
