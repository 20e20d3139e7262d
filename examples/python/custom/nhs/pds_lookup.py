"""A look-up of patients by NHS number, as the Personal Demographics Service (PDS) would answer.

It is called synchronously: the reply is the message, traced. Its register is a table of invented
people in this file, so that the example runs anywhere; a real one would ask PDS over FHIR in
``find``.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from hie import BusinessProcess, HL7Error, Message, Reject, Result, Setting

VERIFIED, NOT_TRACED, NO_MATCH = "01", "02", "04"
"""NHS number status indicator codes: verified, present but not traced, traced without a match."""


class Person(NamedTuple):
    """What the register knows of a patient."""

    family_name: str
    given_name: str
    birth_date: str
    sex: str
    postcode: str


# Invented people; numbers beginning with 999 are never given to anybody.
REGISTER = {
    "9990000018": Person("ADAMS", "RUTH", "19530227", "F", "LS1 4AP"),
    "9990000026": Person("BAKER", "THOMAS", "19780114", "M", "M1 1AE"),
    "9990000034": Person("O'NEILL", "SIÂN", "20010930", "F", "CF10 1EP"),
}


def is_nhs_number(number: str) -> bool:
    """Whether ten digits carry the right check digit (modulus 11)."""
    if len(number) != 10 or not (number.isascii() and number.isdigit()):
        return False
    weighted = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1)))
    check = (11 - weighted % 11) % 11
    return check == int(number[9])  # a check of 10 equals no digit: such numbers are not issued


class PdsLookup(BusinessProcess):
    """Looks patients up by NHS number and corrects what the register knows better."""

    on_invalid: str = Setting(
        "warn",
        name="OnInvalidNumber",
        choices=["warn", "reject"],
        doc="A number with a wrong check digit: warn (status 02, the message goes on) or reject.",
    )
    correct: bool = Setting(
        True, name="CorrectDemographics", doc="Whether name, birth date, sex and postcode are corrected."
    )
    status_field: str = Setting("PID-32", name="StatusField", doc="Where the NHS number status is written.")

    def on_start(self) -> None:
        self.log.info("the register holds %d people", len(REGISTER))

    def on_message(self, message: Message) -> Result:
        if message.segment("PID") is None:
            raise Reject("the message has no PID segment")
        number = self.number_of(message)
        if number is None:
            return self.answer(message, NOT_TRACED, "no NHS number")
        if not is_nhs_number(number):
            if self.on_invalid == "reject":
                raise Reject("the NHS number in PID-3 has a wrong check digit")
            return self.answer(message, NOT_TRACED, "NHS number with a wrong check digit")
        person = self.find(number)
        if person is None:
            return self.answer(message, NO_MATCH, "not in the register")
        corrected = self.correct_all(message, person) if self.correct else 0
        return self.answer(message, VERIFIED, "verified, %d fields corrected" % corrected)

    def number_of(self, message: Message) -> Optional[str]:
        """The NHS number: the repetition of PID-3 that NHS assigned, without its blanks."""
        for repetition in range(1, len(message.repetitions("PID-3")) + 1):
            authority = message["PID-3[%d].4.1" % repetition]
            kind = message["PID-3[%d].5" % repetition]
            if kind == "NH" or authority in ("NHS", "NHSNBR"):
                number = (message["PID-3[%d].1" % repetition] or "").replace(" ", "")
                return number or None
        return None

    def find(self, number: str) -> Optional[Person]:
        """The person with this number; none if the register knows none."""
        return REGISTER.get(number)

    def correct_all(self, message: Message, person: Person) -> int:
        """Writes what differs; gives how many fields did."""
        wanted = [
            ("PID-5.1", person.family_name),
            ("PID-5.2", person.given_name),
            ("PID-7", person.birth_date),
            ("PID-8", person.sex),
            ("PID-11.5", person.postcode),
        ]
        corrected = 0
        for path, value in wanted:
            if (message[path] or "").upper() == value:
                continue
            try:
                message[path] = value
                corrected += 1
            except HL7Error as error:  # its character set lacks a letter: better the old than a wrong one
                self.log.warning("not corrected: %s", error)
        return corrected

    def answer(self, message: Message, status: str, note: str) -> Result:
        """The message with its status: to who asked, and on to TargetConfigNames if there are any."""
        message[self.status_field] = status
        if self.target_config_names:
            self.send_to_targets(message)
        return Result.completed(reply=message, note=note)
