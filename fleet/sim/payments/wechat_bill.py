"""The bill of a day as WeChat Pay, simulated, writes it: each value after a backtick, two lines of sums at the end."""

import csv
import datetime
import io

from fleet.sim.payments.trades import SimTrade, TradeTable, fee

CHINA = datetime.timezone(datetime.timedelta(hours=8))
NAMES = [
    "交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号",
    "用户标识", "交易类型", "交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额",
    "微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态", "商品名称",
    "商户数据包", "手续费", "费率", "订单金额", "申请退款金额", "费率备注",
]  # fmt: skip
_REFUND_STATES = {"done": "SUCCESS", "failed": "FAIL", "processing": "PROCESSING"}


def bill_file(table: TradeTable, merchant: str, day: str, sub: str) -> bytes:
    """Return the bill of `merchant`, or of its sub-merchant `sub`; `day` such as 2026-11-30."""
    lines = [
        {"商户号": merchant, "特约商户号": sub or "0", "货币种类": "CNY", "费率": "0.60%", **line}
        for trade in table.trades.values()
        if trade.merchant == (sub or merchant) and trade.paid is not None
        for line in _lines_of(trade, day)
    ]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(NAMES)
    writer.writerows([f"`{line.get(name, '')}" for name in NAMES] for line in lines)
    writer.writerow(["总交易单数", "应结订单总金额", "退款总金额"])
    writer.writerow([f"`{len(lines)}", "`0.00", "`0.00"])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _lines_of(trade: SimTrade, day: str) -> list[dict[str, str]]:
    lines = []
    common = {"公众账号ID": trade.app, "微信订单号": trade.platform_number, "商户订单号": trade.number}
    if trade.paid is not None and _time(trade.paid).startswith(day):
        lines.append(
            {**common, "交易时间": _time(trade.paid), "交易状态": "SUCCESS", "商户退款单号": "0",
             "订单金额": _yuan(trade.total), "应结订单金额": _yuan(trade.total),
             "手续费": f"{fee(trade.total) / 100:.5f}"}
        )  # fmt: skip
    lines += [
        {**common, "交易时间": _time(refund.asked), "交易状态": "REFUND", "微信退款单号": refund.platform_number,
         "商户退款单号": refund.number, "退款金额": _yuan(refund.amount), "申请退款金额": _yuan(refund.amount),
         "退款状态": _REFUND_STATES[refund.state], "手续费": f"{-fee(refund.amount) / 100:.5f}"}
        for refund in trade.refunds
        if _time(refund.asked).startswith(day)
    ]  # fmt: skip
    return lines


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(int(at), CHINA).strftime("%Y-%m-%d %H:%M:%S")


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"
