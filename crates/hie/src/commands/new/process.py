"""StarterClass: say here what it is for. The first line of its class stands in the reference."""

from __future__ import annotations

from typing import Any

from hie import BusinessProcess, Message, Reject, Setting


class StarterClass(BusinessProcess):
    """Writes one field in capitals and sends the message on."""

    field: str = Setting("PID-5.1", name="Field", doc="Which field.")

    def on_start(self) -> None:
        self.log.info("sends to %s", ", ".join(self.target_config_names) or "nobody")

    def on_message(self, message: Message) -> Any:
        value = message[self.field]  # text, or None where there is no such place
        if value is None:
            raise Reject("the message has no %s" % self.field)  # never content of the message
        message[self.field] = value.upper()
        return message  # to all TargetConfigNames
