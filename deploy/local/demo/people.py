"""Who appears in the script: names, addresses and languages from a seed. Nobody of them exists."""

import unicodedata
from dataclasses import dataclass
from random import Random

_FIRST = """
    Ada Anton Beata Bruno Carla Cem Dana David Elif Emil Fanny Felix Greta Goran Hanna Hugo Ida Ivan Jana Jonas Katja
    Karl Lena Luca Mara Milan Nina Noah Olga Oskar Paula Pavel Rosa Ruben Sara Sami Tilda Tomas Uma Viktor Wanda Yusuf
    Zoë Bjørn Çiğdem Łukasz Søren Renée
"""
_LAST = """
    Adler Baumann Bergström Conti Dubois Eriksen Fischer García Gruber Hofer Horvat Ivanova Jansen Keller Kowalska
    Lindqvist Maier Moretti Nagy Novák Okafor Ortiz Petrov Popescu Quirke Rossi Sato Schäfer Silva Steiner Tanaka Toth
    Ulrich Vega Virtanen Weiss Yilmaz Zeman
"""
FIRST, LAST = _FIRST.split(), _LAST.split()
STREETS = ("Hauptstraße", "Lindenweg", "Rue des Lilas", "Via Roma", "Mill Lane", "Storgatan", "Ulica Polna")


@dataclass(frozen=True, slots=True)
class Place:
    """A country with its money, language, zone, a mobile prefix with the digits that follow it, and a city."""

    country: str
    currency: str
    locale: str
    zone: str
    dial: str
    digits: int
    city: str
    postal_code: str


PLACES = (
    Place("AT", "EUR", "de-AT", "Europe/Vienna", "+43660", 7, "Wien", "1010"),
    Place("DE", "EUR", "de-DE", "Europe/Berlin", "+49151", 8, "Berlin", "10115"),
    Place("CH", "CHF", "de-CH", "Europe/Zurich", "+4179", 7, "Zürich", "8001"),
    Place("FR", "EUR", "fr-FR", "Europe/Paris", "+336", 8, "Lyon", "69001"),
    Place("IT", "EUR", "it-IT", "Europe/Rome", "+39347", 7, "Torino", "10121"),
    Place("GB", "GBP", "en-GB", "Europe/London", "+447700", 6, "Leeds", "LS1 1UR"),
    Place("SE", "SEK", "sv-SE", "Europe/Stockholm", "+4670", 7, "Lund", "222 22"),
    Place("JP", "JPY", "ja-JP", "Asia/Tokyo", "+8190", 8, "Sapporo", "060-0001"),
)
HOME = PLACES[:3]
"""Where the staff live."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, before anything happens. `mailbox` is the local part of every email address of theirs."""

    name: str
    mailbox: str
    phone: str
    street: str
    place: Place

    def email(self, domain: str = "example.com") -> str:
        return f"{self.mailbox}@{domain}"


def person(number: int, places: tuple[Place, ...], prefix: str, rng: Random) -> Person:
    """The `number`-th person of a script; `prefix` keeps customers' and employees' addresses apart."""
    first, last, place = rng.choice(FIRST), rng.choice(LAST), rng.choice(places)
    # no last digits that mean trouble to the SMS sandbox
    phone = f"{place.dial}{number:0{place.digits - 1}d}9"
    mailbox = f"{_ascii(first)}.{_ascii(last)}.{prefix}{number}"
    return Person(f"{first} {last}", mailbox, phone, f"{rng.choice(STREETS)} {rng.randint(1, 120)}", place)


def _ascii(name: str) -> str:
    plain = name.lower().translate(str.maketrans("øłıß", "olis"))
    return unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
