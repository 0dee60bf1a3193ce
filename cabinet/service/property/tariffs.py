"""Tariffs for the property: posted ones, check of a new file, posting of a new one from a later day on."""

import asyncio
import datetime
from pathlib import Path

from cabinet.billing import tariff_files
from cabinet.billing.posted import ALWAYS, PostedTariff
from cabinet.billing.tariff import MINUTES_A_DAY, parts_fen
from cabinet.errors import CabinetError, ConfigErrors, Refused
from cabinet.records import Actor
from cabinet.service.charges import pricing
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions, Note
from cabinet.service.property_views import Receipt, SampleCharge, TariffPreview, TariffView

MAX_CHARS = 32_000
MAX_EXAMPLE_S = 48 * 3600
MAX_EXAMPLE_W = 3500
UPLOADED = "tariff"  # in place of a file's name in messages


class Tariffs:
    """Implements `property_ports.TariffsPort`."""

    def __init__(self, context: ServiceContext, audited: AuditedActions) -> None:
        self._context = context
        self._audited = audited

    def mistakes(self) -> list[str]:
        return self._context.tariff_catalogue.mistakes

    async def posted(self, actor: Actor) -> list[TariffView]:
        actor.require("look")
        found, _ = await asyncio.to_thread(tariff_files.load_all, self._context.config)
        today = self._today()
        views = [self._view(each, today) for each in found]
        return sorted(views, key=lambda each: ("now", "later", "over").index(each.when))

    async def preview(self, actor: Actor, text: str) -> TariffPreview:
        actor.require("look")
        posted = await asyncio.to_thread(self._checked, text)
        if isinstance(posted, list):
            return TariffPreview(posted, None, False)
        return TariffPreview([], self._view(posted, self._today()), posted.from_day > self._today())

    async def sample(self, actor: Actor, text: str, charge: SampleCharge) -> Receipt:
        actor.require("look")
        posted = await asyncio.to_thread(self._checked, text, beside=False)
        if isinstance(posted, list):
            raise Refused("bad_tariff")
        return self._receipt(posted, charge)

    async def sample_of(self, actor: Actor, version: str, charge: SampleCharge) -> Receipt:
        actor.require("look")
        found, _ = await asyncio.to_thread(tariff_files.load_all, self._context.config)
        for each in found:
            if each.tariff.version == version:
                return self._receipt(each, charge)
        raise Refused("unknown_tariff")

    async def schedule(self, actor: Actor, text: str) -> str:
        actor.require("tariffs")
        posted = await asyncio.to_thread(self._checked, text)
        if isinstance(posted, list):
            raise Refused("bad_tariff")
        if posted.from_day <= self._today():
            raise Refused("not_future")
        version = posted.tariff.version
        from_day = datetime.date.fromordinal(posted.from_day).isoformat()
        # the note first: a tariff without an author must not exist, and a surplus note does no harm
        await self._audited.note(actor, "tariffs", Note("tariff_schedule", subject=version, detail=from_day))
        try:
            await asyncio.to_thread(tariff_files.put, self._context.config, version, text.encode())
        except CabinetError as error:
            raise Refused("bad_tariff") from error
        self._context.tariff_catalogue.refresh()
        return version

    def _checked(self, text: str, beside: bool = True) -> PostedTariff | list[str]:
        """Return the tariff in `text`, or its mistakes, a line each."""
        if len(text) > MAX_CHARS:
            raise Refused("bad_request")
        try:
            posted = tariff_files.load_text(text.replace("\r\n", "\n"), UPLOADED)
            if beside:
                others, _ = tariff_files.load_all(self._context.config)
                tariff_files.check_beside(self._context.config, posted, others)
        except ConfigErrors as errors:
            return [str(error) for error in errors.errors]
        return posted

    def _receipt(self, posted: PostedTariff, charge: SampleCharge) -> Receipt:
        if not (0 < charge.seconds <= MAX_EXAMPLE_S and 0 < charge.power_w <= MAX_EXAMPLE_W):
            raise Refused("bad_choice")
        minute = charge.day.toordinal() * MINUTES_A_DAY + charge.minute
        use = pricing.sample_use(posted.tariff, charge.seconds, charge.power_w, minute)
        lines = pricing.price_lines(posted.tariff, use, 1 << 40, None)
        return Receipt(lines, *parts_fen(lines), posted.tariff.version)

    def _view(self, posted: PostedTariff, today: int) -> TariffView:
        text = ""
        if posted.source not in (tariff_files.BASE, UPLOADED):
            try:
                text = Path(posted.source).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                text = ""
        return TariffView(
            price=pricing.price_view(posted.tariff, self._context.site_time.minute(self._context.clock.wall())),
            source=posted.source if posted.source == tariff_files.BASE else Path(posted.source).name,
            text=text,
            outlets=sorted(posted.outlets),
            groups=sorted(posted.groups),
            from_day=None if posted.from_day <= 0 else datetime.date.fromordinal(posted.from_day),
            until_day=None if posted.until_day == ALWAYS else datetime.date.fromordinal(posted.until_day),
            when="later" if posted.from_day > today else "over" if posted.until_day < today else "now",
        )

    def _today(self) -> int:
        """Return the day that tariffs are chosen by."""
        wall = self._context.clock.wall()
        return max(self._context.site_time.day_number(wall), self._context.tariff_catalogue.newest_day)
