"""How many batches a look of a monitor takes, when the next one may begin, and what is set aside.

A look that failed is begun again, later each time, and with fewer batches each time: so one that
ends its child is found, alone, and set aside by name, and the others are taken in. All of it is
read off the monitor's looks; there is no state besides.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone

from training.models import InferenceBatch, Monitor, MonitorLook, Run

MOST_BATCHES = 512  # that a look takes
MOST_ROWS = 100_000  # in them, beyond the first batch
MOST_BYTES = 64 << 20  # of them, as they are kept
FEWER = 8  # by which their number is divided after a look that failed
LEAST_REST, MOST_REST = 1.0, 30.0  # seconds between two looks that went well
ALONGSIDE = 2.0  # times as long as the last one a look rests, where others are at work
AT_WORK = (Run.Status.STARTING, Run.Status.TRAINING, Run.Status.EVALUATING)
AGAIN, MOST_AGAIN = 15.0, 900.0  # seconds after the first failure in a row, and after many
TRIES = 2  # looks that one batch alone may end
KEPT_LOOKS = 200
TOLD = timedelta(days=1)  # for so long a batch that was set aside is told of with the monitor
SEND_AGAIN = "All else is taken in. Mend what sends it, and send it again under the same ids."
#: Failures that no batch is to blame for.
BLAMELESS = ("away", "bad_model", "damaged", "disk_full", "lost", "timeout")


def failures(monitor: Monitor) -> list[MonitorLook]:
    """Looks that failed since one went well, newest first."""
    ready = monitor.looks.filter(fits=False, status=MonitorLook.Status.READY)
    since = ready.order_by("-pk").values_list("pk", flat=True).first() or 0
    failed = monitor.looks.filter(fits=False, status=MonitorLook.Status.FAILED, pk__gt=since)
    return list(failed.order_by("-pk")[:20])


def due(monitor: Monitor) -> list[InferenceBatch]:
    """The batches that the next look takes, in the order they came."""
    most = most_batches(sum(_is_blaming(one) for one in failures(monitor)))
    taken: list[InferenceBatch] = []
    rows = size = 0
    for one in monitor.inbox.order_by("pk").iterator(chunk_size=20):
        rows, size = rows + one.rows, size + len(one.body)
        if taken and (len(taken) == most or rows > MOST_ROWS or size > MOST_BYTES):
            break
        taken.append(one)
    return taken


def most_batches(failed: int) -> int:
    return max(1, MOST_BATCHES // int(FEWER**failed))


def troubles(ids: Iterable[int]) -> dict[int, str]:
    """Of monitors whose last look failed, or that have a batch which was set aside of late, a
    sentence."""
    wanted = list(ids)
    found: dict[int, str] = {}
    over = (MonitorLook.Status.READY, MonitorLook.Status.FAILED)
    looks = MonitorLook.objects.filter(monitor__in=wanted, fits=False, status__in=over)
    newest = looks.values("monitor").annotate(newest=Max("pk")).values("newest")
    failed = MonitorLook.objects.filter(pk__in=newest, status=MonitorLook.Status.FAILED)
    for look in failed:
        said = (look.error or {}).get("detail", "")
        found[look.monitor_id] = f"What was sent waits, and is tried again. {said}"
    late = InferenceBatch.every.filter(
        monitor__in=wanted, error__gt="", received_at__gt=timezone.now() - TOLD
    )
    for monitor, received, error in late.order_by("pk").values_list(
        "monitor", "received_at", "error"
    ):
        found[monitor] = (
            f"What was sent at {received:%d %B, %H:%M} UTC was set aside. {error} {SEND_AGAIN}"
        )
    return found


def set_aside(monitor: Monitor) -> InferenceBatch | None:
    """The batch that ended its look alone, time after time; None where none did."""
    first = monitor.inbox.order_by("pk").first()
    failed = [one for one in failures(monitor) if _is_blaming(one)]
    if first is None or len(failed) < TRIES:
        return None
    if any((one.report or {}).get("batches") != [first.pk] for one in failed[:TRIES]):
        return None
    said = str((failed[0].error or {}).get("detail", ""))
    first.error = f"It cannot be taken in. {said}"[:500]
    first.save(update_fields=["error"])
    return first


def rests_until(monitor: Monitor) -> datetime:
    """When the next look may begin: soon after one that was quick, so that looks take no more than
    half of a worker's time, and a third while others want it; later after failures."""
    failed = failures(monitor)
    if failed:
        wait = min(MOST_AGAIN, AGAIN * 2.0 ** (len(failed) - 1))
        return (failed[0].finished_at or timezone.now()) + timedelta(seconds=wait)
    ready = monitor.looks.filter(fits=False, status=MonitorLook.Status.READY)
    last = ready.order_by("-pk").first()
    if last is None or last.finished_at is None:
        return monitor.created_at
    took = (last.finished_at - last.queued_at).total_seconds()
    since = (timezone.now() - last.finished_at).total_seconds()
    # Whether others are at work is asked only where it matters.
    rest = took if since < ALONGSIDE * took and not _others_work(monitor) else ALONGSIDE * took
    return last.finished_at + timedelta(seconds=min(MOST_REST, max(LEAST_REST, rest)))


def _others_work(monitor: Monitor) -> bool:
    """Whether runs are trained here, or another monitor is looked at."""
    looks = MonitorLook.objects.filter(status=MonitorLook.Status.WORKING).exclude(monitor=monitor)
    runs = Run.objects.filter(status__in=AT_WORK, origin=Run.Origin.LAUNCHED)
    return looks.exists() or runs.exists()


def forget_old(monitor: Monitor) -> None:
    """Looks are many, and old ones tell nobody anything."""
    kept = monitor.looks.filter(fits=False).order_by("-pk").values_list("pk", flat=True)
    if oldest := kept[KEPT_LOOKS : KEPT_LOOKS + 1].first():
        monitor.looks.filter(fits=False, pk__lte=oldest).delete()


def _is_blaming(look: MonitorLook) -> bool:
    """Whether a batch may be to blame for its failure."""
    return (look.error or {}).get("code") not in BLAMELESS
