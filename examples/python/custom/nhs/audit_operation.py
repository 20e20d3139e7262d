"""An audit trail: one line of JSON for each message, in a file that only grows."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Any, Dict

from hie import BusinessOperation, HL7Error, Message, Retry, Setting


class AuditTrail(BusinessOperation):
    """Writes what passed, when and from where to a file: names and ids, nothing of the patient."""

    path: str = Setting(
        name="FilePath",
        type="path",
        doc="The file, made if it is absent; a relative path begins at the configuration file's folder.",
    )
    sync: bool = Setting(
        True, name="SyncToDisk", doc="Whether a message is completed only when its line is on the disk."
    )

    def on_start(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.file = os.open(self.path, flags, 0o640)

    def on_message(self, message: Message) -> None:
        line = (json.dumps(self.facts(message)) + "\n").encode("ascii")
        try:
            written = os.write(self.file, line)  # one write: lines of several jobs do not mix
            if written < len(line):
                os.write(self.file, line[written:])
            if self.sync:
                os.fsync(self.file)
        except OSError as error:  # a full disk is no fault of the message
            raise Retry("the audit file cannot be written: %s" % os.strerror(error.errno or 0)) from error

    def facts(self, message: Message) -> Dict[str, Any]:
        """What the line says."""
        facts: Dict[str, Any] = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "id": message.id,
            "session": message.session,
            "source": message.source,
            "bytes": len(message.raw),
        }
        if message.is_hl7:
            try:
                facts["type"] = message.message_type
                facts["control_id"] = message.control_id
            except HL7Error as error:
                facts["unreadable"] = str(error)  # names places, never content
        if message.attempt > 1 or message.possible_duplicate:
            facts["possible_duplicate"] = True
        return facts

    def on_stop(self) -> None:
        os.close(self.file)
