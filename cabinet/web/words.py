"""Figures in the reader's language: money, energy, power, durations and moments. Pure."""

import datetime
import zoneinfo

from babel.dates import format_skeleton

from cabinet import figures
from cabinet.clock import WallTime
from cabinet.service.ports import CostLine, SessionView
from cabinet.texts import Texts

LOCALES = {"zh": "zh", "en": "en_GB"}


class Words:
    """What templates call to say a number; one object a language."""

    def __init__(self, texts: Texts, zone: zoneinfo.ZoneInfo) -> None:
        self._texts = texts
        self._zone = zone
        self._locale = LOCALES[texts.language]

    def money(self, fen: int) -> str:
        return self._texts("figure.money", yuan=figures.yuan(fen))

    def signed_money(self, fen: int) -> str:
        """Of a movement: +20.00 元, −5.00 元."""
        return ("+" if fen > 0 else "−") + self.money(abs(fen))

    def price(self, fen: int, per: int) -> str:
        """Of an hour or a kWh, where `fen` are for `per` of them: 5103 for 100 is "0.5103 元"."""
        return self._texts("figure.money", yuan=figures.yuan_per(fen, per))

    def energy(self, energy_mwh: int) -> str:
        return self._texts("figure.energy", kwh=figures.kwh(energy_mwh))

    def power(self, power_mw: int | None) -> str:
        """Whole watts, or a dash where the power is not known."""
        return "—" if power_mw is None else self._texts("figure.power", watts=figures.watts(power_mw))

    def temperature(self, temperature_mc: int | None) -> str:
        """Whole degrees, or a dash where the temperature is not known."""
        return (
            "—"
            if temperature_mc is None
            else self._texts("figure.temperature", celsius=figures.celsius(temperature_mc))
        )

    def duration(self, seconds: int) -> str:
        """Seconds below a minute, minutes below an hour, then both hours and minutes; rounded down."""
        hours, rest = divmod(max(seconds, 0), 3600)
        minutes, rest = divmod(rest, 60)
        if hours and minutes:
            return self._texts("figure.hours_minutes", hours=hours, minutes=minutes)
        if hours:
            return self._texts("figure.hours", hours=hours)
        return (
            self._texts("figure.minutes", minutes=minutes) if minutes else self._texts("figure.seconds", seconds=rest)
        )

    def exact(self, seconds: int) -> str:
        """A duration to the second, from which a receipt can be worked out again."""
        hours, rest = divmod(seconds, 3600)
        if not seconds % 60:
            return self.duration(seconds)
        return (self._texts("figure.hours", hours=hours) + "\u00a0" if hours else "") + self.countdown(rest)

    def about(self, seconds: int) -> str:
        """As `duration`, no finer than an estimate is: whole minutes, from an hour on in steps of five."""
        minutes = max(1, round(seconds / 60))
        return self.duration(60 * (minutes if minutes < 60 else 5 * round(minutes / 5)))

    def running_time(self, seconds: int) -> str:
        """A duration that grows while somebody looks: with its seconds in the first hour."""
        return self.countdown(seconds) if seconds < 3600 else self.duration(seconds)

    def timer(self, seconds: int) -> str:
        """Minutes and seconds as a clock that runs down shows them: 1:37."""
        minutes, rest = divmod(max(seconds, 0), 60)
        return f"{minutes}:{rest:02}"

    def countdown(self, seconds: int) -> str:
        """Minutes and seconds, for what a person waits for."""
        minutes, rest = divmod(max(seconds, 0), 60)
        if not minutes:
            return self._texts("figure.seconds", seconds=rest)
        return self._texts("figure.minutes_seconds", minutes=minutes, seconds=rest)

    def hours(self, half_hours: int) -> str:
        """A choice of time in steps of half an hour: 3 → "1.5 小时"."""
        return self._texts("figure.hours", hours=str(half_hours // 2) + (".5" if half_hours % 2 else ""))

    def moment(self, moment: WallTime) -> str:
        """Day, month and time of day at the site: 11月24日 14:05."""
        return f"{self._date('MMMd', moment)} {self.time_of_day(moment)}"

    def full_moment(self, moment: WallTime) -> str:
        """With year and seconds, for a receipt."""
        return f"{self._date('yMMMd', moment)} {figures.local(moment, self._zone):%H:%M:%S}"

    def time_of_day(self, moment: WallTime) -> str:
        return f"{figures.local(moment, self._zone):%H:%M}"

    def second_of_day(self, moment: WallTime) -> str:
        return f"{figures.local(moment, self._zone):%H:%M:%S}"

    def day(self, date: datetime.date) -> str:
        """With its day of the week: 11月24日周二."""
        return format_skeleton("MMMEd", date, locale=self._locale)

    def month(self, date: datetime.date) -> str:
        return format_skeleton("yMMM", date, locale=self._locale)

    def clock(self, unix_s: int) -> str:
        return self.time_of_day(WallTime(unix_s * 1000, True))

    def choice(self, session: SessionView) -> str:
        """What was bought: until full, a time or an amount."""
        name = self._texts(f"choice.{session.choice}")
        if session.choice in ("hours", "package"):
            return self._texts("figure.choice", choice=name, amount=self.duration(session.choice_amount))
        if session.choice == "amount":
            return self._texts("figure.choice", choice=name, amount=self.money(session.choice_amount))
        return name

    def line_name(self, line: CostLine) -> str:
        """What a line of the bill is for, with its power band or its hours of the day."""
        name = self._texts(f"line.{line.kind}")
        if not line.detail:
            return name
        return self._texts("figure.line", line=name, detail=self._line_detail(line))

    def _line_detail(self, line: CostLine) -> str:
        detail, _, more = line.detail.partition(" ")
        if line.kind in ("time", "package"):
            return self._band(detail)
        return f"{detail} {self._texts(f'days.{more}')}" if more else detail

    def line_sum(self, line: CostLine) -> str:
        """Quantity × price of a line; empty for what is charged once."""
        price = self.price(line.unit_price_fen, line.per)
        if line.kind == "package":
            lasts = self.exact(int(line.detail.rpartition(" ")[2]))
            return self._texts("figure.package_sum", time=self.exact(line.quantity), lasts=lasts, price=price)
        if line.kind == "free":
            return self.exact(line.quantity)
        if line.kind in ("minimum", "cap"):
            return self._texts(f"figure.{line.kind}", price=price)
        if line.unit == "s":
            return self._texts("figure.time_sum", time=self.exact(line.quantity), price=price)
        if line.unit == "mWh":
            return self._texts("figure.energy_sum", energy=self.energy(line.quantity), price=price)
        return ""

    def band(self, from_w: int, to_w: int | None) -> str:
        """A span of power: 200–400 瓦, or 400 瓦以上 where it has no upper end."""
        if to_w is None:
            return self._texts("figure.band_open", low=from_w)
        return self._texts("figure.band", low=from_w, high=to_w)

    def _band(self, detail: str) -> str:
        low, _, high = detail.partition("-")
        return self.band(int(low), int(high) if high else None) if low.isdigit() else detail

    def _date(self, skeleton: str, moment: WallTime) -> str:
        return format_skeleton(skeleton, figures.local(moment, self._zone), locale=self._locale)
