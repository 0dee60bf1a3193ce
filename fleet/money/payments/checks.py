"""Comparison of what a platform reports with our own row. Pure; the caller has locked the row."""

from fleet.money.payments.port import CURRENCY, PaymentReport, RefundReport
from fleet.store.payments import PaymentRow, RefundRow


def objection_to_payment(row: PaymentRow, merchant: str, app: str, report: PaymentReport) -> str | None:
    """Return the reason why a report of a payment cannot be ours, or None. `merchant` and `app`: of our account."""
    if report.number != row.number:
        return f"it is about payment {report.number[:64]}"
    if report.merchant != merchant:
        return f"merchant {report.merchant[:64]}, ours is {merchant}"
    if report.app != app:
        return f"app {report.app[:64]}, ours is {app}"
    if report.currency != CURRENCY:
        return f"currency {report.currency[:16]}"
    if report.amount_fen != row.amount_fen:
        return f"{report.amount_fen} fen, ours has {row.amount_fen}"
    return None


def objection_to_refund(row: RefundRow, merchant: str, report: RefundReport) -> str | None:
    """Return the reason why a report of a refund cannot be ours, or None."""
    if (report.payment_number, report.refund_number) != (row.payment_number, row.number):
        return f"it is about refund {report.refund_number[:64]} of {report.payment_number[:64]}"
    if report.merchant != merchant:
        return f"merchant {report.merchant[:64]}, ours is {merchant}"
    if report.amount_fen != row.amount_fen:
        return f"{report.amount_fen} fen, ours has {row.amount_fen}"
    return None
