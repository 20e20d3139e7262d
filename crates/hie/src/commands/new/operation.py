"""StarterClass: say here what it is for. The first line of its class stands in the reference."""

from __future__ import annotations

import os

from hie import BusinessOperation, Message, Retry, Setting


class StarterClass(BusinessOperation):
    """Appends each message to a file, a line each."""

    path: str = Setting(name="Path", type="path", doc="The file; made if it is absent.")

    def on_start(self) -> None:
        folder = os.path.dirname(os.path.abspath(self.config_file)) if self.config_file else os.getcwd()
        self.file = open(os.path.join(folder, self.path), "ab")

    def on_message(self, message: Message) -> None:
        try:
            self.file.write(message.raw.replace(b"\r", b"\x0b") + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())  # completed means: on the disk
        except OSError as error:
            raise Retry("the file cannot be written: %s" % error.strerror) from error

    def on_stop(self) -> None:
        self.file.close()
