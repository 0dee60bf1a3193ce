"""Bills of a day as both platforms write them, and amounts in yuan. Pure.

Source: the description of the columns at pay.weixin.qq.com ("trade bill") and opendocs.alipay.com ("business bill"),
as of 2026.
"""

import csv
import decimal
import io
import re
import zipfile

from fleet.money.payments.port import BillLine, ResultUnknown

MAX_UNPACKED = 256 * 1024 * 1024  # bytes of one file in a bill

_YUAN = re.compile(r"[+-]?\d{1,10}(\.\d{1,5})?")


def fen_of(yuan: str) -> int:
    """Return an amount in fen. Raises ValueError unless it is an amount in yuan, of whole fen."""
    if not _YUAN.fullmatch(yuan) or not yuan.isascii():
        raise ValueError(f"{yuan[:32]!r} is no amount in yuan")
    fen = decimal.Decimal(yuan) * 100
    if fen != fen.to_integral_value():
        raise ValueError(f"{yuan[:32]!r} has parts of a fen")
    return int(fen)


def yuan_of(fen: int) -> str:
    """Return an amount of at least 0 fen in yuan, with two decimals."""
    assert fen >= 0
    return f"{fen // 100}.{fen % 100:02}"


def read_wechat(content: bytes) -> list[BillLine]:
    """Return the lines of a bill of all trades: each value begins with a backtick; the sums at the end are left out.

    Raises ResultUnknown if it cannot be read.
    """
    lines = []
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        place = {name.strip(): number for number, name in enumerate(rows[0])}
        if "商户订单号" not in place:
            raise ValueError("no such table")
        for row in rows[1:]:
            if len(row) < len(place):
                break  # the sums begin
            value = {name: row[number].strip().removeprefix("`") for name, number in place.items()}
            if value["交易状态"] == "SUCCESS":
                lines.append(_line(value, "", "订单金额", "微信订单号"))
            elif value["交易状态"] == "REFUND" and value["退款状态"] != "FAIL":
                lines.append(_line(value, value["商户退款单号"], "申请退款金额", "微信退款单号"))
    except (UnicodeDecodeError, csv.Error, KeyError, IndexError, ValueError) as error:
        raise _unreadable(error) from error
    return lines


def _line(value: dict[str, str], refund: str, amount: str, number: str) -> BillLine:
    return BillLine(value["商户订单号"], refund, fen_of(value[amount]), fen_of(value["手续费"]), value[number])


def read_alipay(content: bytes) -> list[BillLine]:
    """Return the lines of the details in a business bill: a zip with tables in GBK, lines with # are comments.

    Raises ResultUnknown if it cannot be read.
    """
    lines = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            [details] = [each for each in archive.infolist() if "汇总" not in _name(each)]
            if details.file_size > MAX_UNPACKED:
                raise ValueError(f"{details.file_size} bytes")
            text = archive.read(details).decode("gb18030")
        rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
        names = [name.strip() for name in next(rows)]
        for row in rows:
            value = {name: cell.strip() for name, cell in zip(names, row, strict=False)}
            refund = value["退款批次号/请求号"] if value["业务类型"] == "退款" else ""
            if value["业务类型"] not in ("交易", "退款"):
                continue
            amount, fee = fen_of(value["订单金额（元）"]), fen_of(value["服务费（元）"])
            lines.append(BillLine(value["商户订单号"], refund, abs(amount), -fee, value["支付宝交易号"]))
    except (UnicodeDecodeError, csv.Error, KeyError, StopIteration, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(error) from error
    return lines


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the file's name; Alipay writes it in GBK without saying so, and the reader takes it for code page 437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    return entry.filename.encode("cp437").decode("gb18030", "replace")


def _unreadable(error: Exception) -> ResultUnknown:
    return ResultUnknown("bad_bill", f"{type(error).__name__}: {error}"[:200])
