"""Celery jobs: ids in, one call, no logic. And the life of a Celery worker, which is ours."""

from typing import Any

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_ready, worker_shutdown, worker_shutting_down

from distillhub.lib import leases, planner
from training.worker import (
    alert_delivery,
    exports,
    fanning,
    gates,
    importing,
    maps,
    metrics,
    monitors,
    networks,
    notices,
    publishing,
    reaper,
    registration,
    retention,
    runs,
    studies,
    teacher_questions,
    teacher_store,
    webhook_delivery,
)


@shared_task(name="training.execute_run")  # type: ignore[untyped-decorator]
def execute_run(*, run_id: int, **later: Any) -> None:
    runs.execute(run_id)


@shared_task(name="training.reap")  # type: ignore[untyped-decorator]
def reap(**later: Any) -> None:
    reaper.reap()


@shared_task(name="training.inspect_model_version")  # type: ignore[untyped-decorator]
def inspect_model_version(*, version_id: int, **later: Any) -> None:
    networks.WORK.carry_out(version_id)


@shared_task(name="training.make_export")  # type: ignore[untyped-decorator]
def make_export(*, export_id: int, **later: Any) -> None:
    exports.WORK.carry_out(export_id)


@shared_task(name="training.ask_teacher")  # type: ignore[untyped-decorator]
def ask_teacher(*, gate_id: int, **later: Any) -> None:
    gates.WORK.carry_out(gate_id)


@shared_task(name="training.ask_for_monitor")  # type: ignore[untyped-decorator]
def ask_for_monitor(*, question_id: int, **later: Any) -> None:
    teacher_questions.WORK.carry_out(question_id)


@shared_task(name="training.make_map")  # type: ignore[untyped-decorator]
def make_map(*, map_id: int, **later: Any) -> None:
    maps.WORK.carry_out(map_id)


@shared_task(name="training.publish")  # type: ignore[untyped-decorator]
def publish(*, publication_id: int, **later: Any) -> None:
    publishing.WORK.carry_out(publication_id)


@shared_task(name="training.import_runs")  # type: ignore[untyped-decorator]
def import_runs(*, import_id: int, **later: Any) -> None:
    importing.WORK.carry_out(import_id)


@shared_task(name="training.deliver_alerts")  # type: ignore[untyped-decorator]
def deliver_alerts(*, channel_id: int, **later: Any) -> None:
    alert_delivery.deliver(channel_id)


@shared_task(name="training.fan_out_events")  # type: ignore[untyped-decorator]
def fan_out_events(**later: Any) -> None:
    fanning.fan_out()
    webhook_delivery.look_again()
    notices.look_again()


@shared_task(name="training.mail_notifications")  # type: ignore[untyped-decorator]
def mail_notifications(*, user_id: int, **later: Any) -> None:
    notices.deliver(user_id)


@shared_task(name="training.deliver_webhooks")  # type: ignore[untyped-decorator]
def deliver_webhooks(*, webhook_id: int, **later: Any) -> None:
    webhook_delivery.deliver(webhook_id)


@shared_task(name="training.watch")  # type: ignore[untyped-decorator]
def watch(*, look_id: int, **later: Any) -> None:
    monitors.WORK.carry_out(look_id)


@shared_task(name="training.tell_study")  # type: ignore[untyped-decorator]
def tell_study(*, study_id: int, **later: Any) -> None:
    studies.tell(study_id)


@shared_task(name="training.tend_teacher_outputs")  # type: ignore[untyped-decorator]
def tend_teacher_outputs(**later: Any) -> None:
    teacher_store.tend()


@shared_task(name="training.sweep_storage")  # type: ignore[untyped-decorator]
def sweep_storage(**later: Any) -> None:
    retention.sweep_when_possible()
    webhook_delivery.forget_old()
    notices.forget_old()


@shared_task(name="training.sweep_metrics")  # type: ignore[untyped-decorator]
def sweep_metrics(**later: Any) -> None:
    metrics.sweep()


@shared_task(name="training.refresh_statistics")  # type: ignore[untyped-decorator]
def refresh_statistics(**later: Any) -> None:
    planner.refresh()


def _note_queues(instance: Any, **later: Any) -> None:
    registration.serve(sorted(instance.app.amqp.queues.consume_from))


def _begin(**later: Any) -> None:
    registration.start()
    reaper.at_start()
    teacher_store.start()
    retention.start()
    planner.refresh()


def _let_go(**later: Any) -> None:
    leases.stopping.set()


def _end(**later: Any) -> None:
    retention.stop()
    teacher_store.stop()
    registration.stop()


celeryd_after_setup.connect(_note_queues, weak=False)
worker_ready.connect(_begin, weak=False)
worker_shutting_down.connect(_let_go, weak=False)
worker_shutdown.connect(_end, weak=False)
