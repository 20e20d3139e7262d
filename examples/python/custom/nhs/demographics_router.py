"""A router that asks before it sends: every message is traced first, then goes to the targets."""

from __future__ import annotations

from typing import List

from hie import BusinessProcess, Message, Reject, Send, Setting


class DemographicsRouter(BusinessProcess):
    """Asks a look-up for each message, waits for its answer, and sends the traced message on."""

    lookup: List[str] = Setting(name="LookupConfigName", type="items", doc="The item that is asked.")
    timeout: float = Setting(5.0, name="LookupTimeout", min=0.1, max=300, doc="How long its answer may take.")

    def on_message(self, message: Message) -> List[Send]:
        traced = self.send_request_sync(self.lookup[0], message, timeout=self.timeout)
        if traced is None:
            raise Reject("the look-up gave no message")
        return [Send(target, traced) for target in self.target_config_names]
