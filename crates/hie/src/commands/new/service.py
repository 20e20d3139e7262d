"""StarterClass: say here what it is for. The first line of its class stands in the reference."""

from __future__ import annotations

import os

from hie import BusinessService, Setting


class StarterClass(BusinessService):
    """Takes in the files of a folder and deletes those that are safely on the engine's disk."""

    folder: str = Setting("in", name="Folder", type="path", doc="Where the files are.")
    interval: float = Setting(5.0, name="CallInterval", min=0.01, doc="Seconds between two looks.")

    def on_start(self) -> None:
        base = os.path.dirname(os.path.abspath(self.config_file)) if self.config_file else os.getcwd()
        self.place = os.path.join(base, self.folder)
        os.makedirs(self.place, exist_ok=True)

    def run(self) -> None:
        while not self.wait(self.interval):
            for name in sorted(os.listdir(self.place)):
                if not name.endswith(".hl7"):
                    continue  # write files under another name, then rename them: a half one is never read
                path = os.path.join(self.place, name)
                with open(path, "rb") as file:
                    data = file.read()
                self.accept(data, origin=name)  # returns when the message is on the disk
                os.remove(path)
