"""Formatting in the reader's language: money, energy, power, durations and times. Pure."""

import datetime
import zoneinfo

from cabinet.clock import WallTime
from cabinet.model import CostLine
from cabinet.service.ports import SessionView
from cabinet.texts import Texts, number_format


class Formatter:
    """Formatter for numbers in templates; one object per language."""

    def __init__(self, texts: Texts, zone: zoneinfo.ZoneInfo) -> None:
        self._texts = texts
        self._zone = zone

    def money(self, fen: int) -> str:
        return self._texts("figure.money", yuan=number_format.yuan(fen))

    def signed_money(self, fen: int) -> str:
        """Format the amount of a ledger movement: +20.00 元, −5.00 元."""
        return ("+" if fen > 0 else "−") + self.money(abs(fen))

    def price(self, fen: int, per: int) -> str:
        """Format the price of one hour or kWh; `fen` is the price of `per` of them: 5103 for 100 is "0.5103 元"."""
        return self._texts("figure.money", yuan=number_format.yuan_per(fen, per))

    def energy(self, energy_mwh: int) -> str:
        return self._texts("figure.energy", kwh=number_format.kwh(energy_mwh))

    def power(self, power_mw: int | None) -> str:
        """Format whole watts, or a dash if the power is not known."""
        return "—" if power_mw is None else self._texts("figure.power", watts=number_format.watts(power_mw))

    def temperature(self, temperature_mc: int | None) -> str:
        """Format whole degrees, or a dash if the temperature is not known."""
        return (
            "—"
            if temperature_mc is None
            else self._texts("figure.temperature", celsius=number_format.celsius(temperature_mc))
        )

    def duration(self, seconds: int) -> str:
        """Format seconds below a minute, minutes below an hour, then hours and minutes; rounded down."""
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
        """Format a duration to the second, from which a receipt can be recalculated."""
        hours, rest = divmod(seconds, 3600)
        if not seconds % 60:
            return self.duration(seconds)
        return (self._texts("figure.hours", hours=hours) + "\u00a0" if hours else "") + self.countdown(rest)

    def about(self, seconds: int) -> str:
        """Format an estimate like `duration`, in whole minutes, or in steps of five minutes from one hour on."""
        minutes = max(1, round(seconds / 60))
        return self.duration(60 * (minutes if minutes < 60 else 5 * round(minutes / 5)))

    def running_time(self, seconds: int) -> str:
        """Format a duration that grows on the page: with seconds in the first hour."""
        return self.countdown(seconds) if seconds < 3600 else self.duration(seconds)

    def timer(self, seconds: int) -> str:
        """Format minutes and seconds like a countdown clock: 1:37."""
        minutes, rest = divmod(max(seconds, 0), 60)
        return f"{minutes}:{rest:02}"

    def countdown(self, seconds: int) -> str:
        """Format minutes and seconds of a waiting time."""
        minutes, rest = divmod(max(seconds, 0), 60)
        if not minutes:
            return self._texts("figure.seconds", seconds=rest)
        return self._texts("figure.minutes_seconds", minutes=minutes, seconds=rest)

    def hours(self, half_hours: int) -> str:
        """Format a choice of time in half hours: 3 → "1.5 小时"."""
        return self._texts("figure.hours", hours=str(half_hours // 2) + (".5" if half_hours % 2 else ""))

    def moment(self, moment: WallTime) -> str:
        """Format month, day and time of day at the site: 11月24日 14:05."""
        return f"{self._date('day_month', number_format.local(moment, self._zone))} {self.time_of_day(moment)}"

    def full_moment(self, moment: WallTime) -> str:
        """Format date and time with year and seconds, for a receipt."""
        local = number_format.local(moment, self._zone)
        return f"{self._date('day_month_year', local)} {local:%H:%M:%S}"

    def time_of_day(self, moment: WallTime) -> str:
        return f"{number_format.local(moment, self._zone):%H:%M}"

    def second_of_day(self, moment: WallTime) -> str:
        return f"{number_format.local(moment, self._zone):%H:%M:%S}"

    def day(self, date: datetime.date) -> str:
        """Format a date with its day of the week: 11月24日周二."""
        return self._date("day_month_weekday", date)

    def month(self, date: datetime.date) -> str:
        return self._date("month_year", date)

    def clock(self, unix_s: int) -> str:
        return self.time_of_day(WallTime(unix_s * 1000, True))

    def choice(self, session: SessionView) -> str:
        """Format the resident's choice: until full, a time or an amount."""
        name = self._texts(f"choice.{session.choice}")
        if session.choice in ("hours", "package"):
            return self._texts("figure.choice", choice=name, amount=self.duration(session.choice_amount))
        if session.choice == "amount":
            return self._texts("figure.choice", choice=name, amount=self.money(session.choice_amount))
        return name

    def line_name(self, line: CostLine) -> str:
        """Format the subject of a bill line, with its power band or its hours of the day."""
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
        """Format quantity × price of a line; empty if the line is charged once."""
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
        """Format a power band: 200–400 瓦, or 400 瓦以上 if it has no upper end."""
        if to_w is None:
            return self._texts("figure.band_open", low=from_w)
        return self._texts("figure.band", low=from_w, high=to_w)

    def _band(self, detail: str) -> str:
        low, _, high = detail.partition("-")
        return self.band(int(low), int(high) if high else None) if low.isdigit() else detail

    def _date(self, form: str, date: datetime.date) -> str:
        month = self._texts("date.months").split()[date.month - 1]
        weekday = self._texts("date.weekdays").split()[date.weekday()]
        return self._texts(f"date.{form}", year=date.year, month=month, day=date.day, weekday=weekday)
