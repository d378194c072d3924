"""Which of Walmart's carrier names a package goes under.

The store's own map is asked by code, then by title; then the built-in one by code, then by title. What neither knows
is never guessed: it follows the store's policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from schemas.walmart.carriers import CARRIERS

_SERVICES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # Walmart's name: (brand as people write it), (services that are often put behind it)
    "UPS": (
        ("UPS", "United Parcel Service"),
        (
            "Ground",
            "Ground Saver",
            "SurePost",
            "Standard",
            "Next Day Air",
            "Next Day Air Saver",
            "Next Day Air Early",
            "Next Day Air Early AM",
            "2nd Day Air",
            "2nd Day Air AM",
            "Second Day Air",
            "3 Day Select",
            "Three-Day Select",
            "Express",
            "Saver",
            "Worldwide Express",
            "Worldwide Express Plus",
            "Worldwide Expedited",
            "Worldwide Saver",
        ),
    ),
    "USPS": (
        ("USPS", "United States Postal Service", "US Postal Service"),
        (
            "Priority Mail",
            "Priority",
            "Priority Mail Express",
            "Priority Express",
            "First Class",
            "First-Class Mail",
            "First Class Package",
            "First-Class Package Service",
            "First Class Package International",
            "Ground",
            "Ground Advantage",
            "Retail Ground",
            "Media Mail",
            "Library Mail",
            "Parcel Select",
            "Parcel Select Ground",
            "Priority Mail International",
            "Priority Mail Express International",
            "Express Mail",
        ),
    ),
    "FedEx": (
        ("FedEx", "Fed Ex", "Federal Express"),
        (
            "Ground",
            "Home Delivery",
            "Express",
            "2 Day",
            "2Day",
            "2 Day AM",
            "Express Saver",
            "Priority Overnight",
            "Standard Overnight",
            "First Overnight",
            "International",
            "International Ground",
            "International Economy",
            "International Priority",
            "International First",
            "Freight",
            "One Rate",
        ),
    ),
    "DHL": (("DHL", "DHL Express"), ("Worldwide", "International", "Express Worldwide", "Domestic Express")),
}

_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "UPS": ("ups_walleted", "ups us", "ups ready"),
    "UPSMI": ("UPS Mail Innovations", "UPS MI", "Mail Innovations"),
    "USPS": ("US Mail", "U.S. Mail", "stamps.com", "stamps_com", "Endicia", "usps_walleted", "uspostalservice"),
    "FedEx": ("fedex_walleted", "fedex us", "FedEx Corporation"),
    "FEDEXSP": ("FedEx SmartPost", "SmartPost", "Smart Post", "FedEx Smart Post", "FedEx Ground Economy"),
    "DHL": ("DHL International", "dhlint", "dhl_express", "DHL Worldwide Express", "dhl_express_worldwide"),
    "DHL Ecommerce - US": (
        "DHL eCommerce",
        "DHL e-Commerce",
        "DHL eCommerce US",
        "DHL eCommerce USA",
        "DHL eCommerce America",
        "DHL Global Mail",
        "dhl_global_mail",
        "dhlgm",
        "DHL SmartMail",
        "DHL eCommerce Solutions",
    ),
    "Airborne": ("Airborne Express", "ABX"),
    "OnTrac": ("On Trac", "OnTrac Logistics", "OnTrac Ground"),
    "LS": ("LaserShip", "Laser Ship", "LaserShip Inc"),
    "UDS": ("United Delivery Service", "United Delivery Services"),
    "PILOT": ("Pilot Freight Services", "Pilot Freight", "Pilot Air Freight", "Pilot Delivers"),
    "ESTES": ("Estes Forwarding", "Estes Freight", "Estes LTL", "estes_freight"),
    "Estes Express": ("Estes Express Lines",),
    "SAIA": ("SAIA LTL Freight", "SAIA LTL", "SAIA Motor Freight", "saia_freight"),
    "FDS Express": ("FDS",),
    "Seko Worldwide": ("Seko", "SEKO Logistics", "Seko LTL", "seko_ltl_worldwide"),
    "RL Carriers": ("R+L Carriers", "R&L Carriers", "R and L Carriers", "R+L", "R L Carriers", "rl_freight"),
    "Metropolitan Warehouse & Delivery": (
        "Metropolitan Warehouse and Delivery",
        "Metropolitan Warehouse",
        "Metropolitan Delivery",
    ),
    "China Post": ("China Postal Service", "chinapost", "China Post Registered"),
    "YunExpress": ("Yun Express", "YunTu", "Yuntu Express", "yunexpress_worldwide"),
    "Yellow Freight Sys": ("Yellow Freight", "YRC", "YRC Freight", "Yellow Freight System", "YRC Worldwide"),
    "AIT Worldwide Logistics": ("AIT", "AIT Worldwide", "AIT Freight"),
    "Chukou1": ("CK1", "Chukou 1", "Chukou1 Logistics"),
    "Landmark Global": ("Landmark Global Inc",),
    "Sunyou": ("Sun You", "Sunyou Logistics", "SYPost"),
    "Yanwen": ("Yan Wen", "Yanwen Logistics", "Yanwen Express"),
    "4PX": ("4PX Express", "4PX Worldwide Express", "Four PX", "fourpx"),
    "GLS": ("GLS US", "GLS USA", "General Logistics Systems", "Golden State Overnight", "GSO"),
    "OSM Worldwide": ("OSM", "One Stop Mailing"),
    "FIRST MILE": ("FirstMile",),
    "AM Trucking": ("AM Trucking Services", "AMTrucking"),
    "CEVA": ("CEVA Logistics", "CEVA Freight"),
    "India Post": ("Indian Post", "indiapost"),
    "SF Express": ("S.F. Express", "ShunFeng", "Shun Feng Express", "SF International"),
    "CNE": ("CNE Express", "CNExps"),
    "TForce Freight": ("TForce", "T-Force Freight", "UPS Freight", "tforce_freight"),
    "AxleHire": ("Axle Hire",),
    "LSO": ("Lone Star Overnight", "LSO Express"),
    "Royal Mail": ("royalmail", "Royal Mail Group", "Royal Mail UK"),
    "ABF Freight System": ("ABF", "ABF Freight", "ABF Freight Systems", "ArcBest"),
    "WanB": ("WanB Express", "WanbExpress"),
    "Roadrunner Freight": ("Roadrunner", "Roadrunner Transportation", "Roadrunner LTL"),
    "Meyer Distribution": ("Meyer Distributing",),
    "AAA Cooper": ("AAA Cooper Transportation", "aaacooper", "AACT"),
    "Canada Post": ("canadapost", "Postes Canada", "Canada Post Corporation"),
    "Southeastern Freight Lines": ("Southeastern Freight", "SEFL"),
    "Japan Post": ("japanpost", "JP Post"),
    "Correos de Mexico": ("Correos de México", "Correos Mexico", "SEPOMEX"),
    "XPO Logistics": ("XPO", "XPO LTL", "XPO Freight"),
    "JD Logistics": ("Jingdong Logistics", "JD Express"),
    "Flyt": ("Flyt Express", "Flyt Logistics", "Flytexpress"),
    "Deutsche Post": ("deutschepost", "Deutsche Post AG"),
    "Better Trucks": ("bettertrucks",),
    "Asendia": ("Asendia USA", "Asendia US"),
    "UBI": ("UBI Smart Parcel", "UBI Logistics"),
    "ePost Global": ("ePostGlobal", "e-Post Global"),
    "YF Logistics": ("YFLogistics",),
    "RXO": ("RXO Last Mile", "RXO Logistics"),
    "WIN.IT America": ("Winit", "Winit America"),
    "PITT OHIO": ("Pitt Ohio Express", "Pitt Ohio LTL", "pittohio"),
    "PostNord Sweden": ("PostNord Sverige", "PostNord SE"),
    "DTDC": ("DTDC Express",),
    "Sendle": ("Sendle US",),
}


@lru_cache(maxsize=1_024)  # the same few carriers for ever
def spelled(name: str) -> str:
    """The form built-in names are compared in: letters and digits only, without case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def folded(name: str) -> str:
    """The form the store's own names are compared in: without case, one space between words."""
    return " ".join(name.casefold().split())


def _table() -> dict[str, str]:
    table = {spelled(carrier): carrier for carrier in CARRIERS}
    for carrier, names in _ALIASES.items():
        assert carrier in CARRIERS
        for name in names:
            table.setdefault(spelled(name), carrier)
    for carrier, (brands, services) in _SERVICES.items():
        for brand in brands:
            table.setdefault(spelled(brand), carrier)
            for service in services:
                table.setdefault(spelled(brand + service), carrier)
    return table


BUILT_IN: Final[Mapping[str, str]] = _table()
"""Spelled name -> Walmart's exact carrier name."""


def walmart_carrier(store: Mapping[str, str], code: str | None, title: str | None) -> str | None:
    """Walmart's exact name, or None where it is not known. `store`: the store's own map, with `folded` keys."""
    if store:
        for name in (code, title):
            if name and (found := store.get(folded(name))) is not None:
                return found
    for name in (code, title):
        if name and (found := BUILT_IN.get(spelled(name))) is not None:
            return found
    return None
