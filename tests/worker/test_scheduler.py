from collections import defaultdict
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import RecognitionRequest
from lithophone.worker.messages import Recognise
from lithophone.worker.scheduler import URGENT_IN_A_ROW, Scheduler

REQUEST = RecognitionRequest(samples=np.zeros(1, np.float32))
jobs = st.lists(st.integers(1, 5), max_size=40)


def queued(job_ids: list[int]) -> Scheduler:
    scheduler = Scheduler()
    for work_id, job_id in enumerate(job_ids):
        scheduler.add(Recognise(work_id, job_id, REQUEST))
    return scheduler


def drained(scheduler: Scheduler, max_batch: int) -> list[list[Recognise]]:
    batches: list[list[Recognise]] = []
    while batch := scheduler.next_batch(max_batch):
        batches.append(batch)
    return batches


def next_jobs(scheduler: Scheduler) -> list[int]:
    return [work.job_id for work in scheduler.next_batch(1)]


@given(jobs, st.integers(1, 8))
def test_every_window_runs_once_and_in_order_within_its_job(job_ids: list[int], max_batch: int) -> None:
    batches = drained(queued(job_ids), max_batch)
    order = [work for batch in batches for work in batch]
    assert sorted(work.work_id for work in order) == list(range(len(job_ids)))
    by_job: defaultdict[int, list[int]] = defaultdict(list)
    for work in order:
        by_job[work.job_id].append(work.work_id)
    assert all(ids == sorted(ids) for ids in by_job.values())
    assert all(len(batch) <= max_batch for batch in batches)


@given(jobs)
def test_no_job_waits_for_more_than_one_window_of_each_other_job(job_ids: list[int]) -> None:
    order = [work.job_id for batch in drained(queued(job_ids), 1) for work in batch]
    for job_id in set(job_ids):
        turns = [index for index, ran in enumerate(order) if ran == job_id]
        assert all(later - earlier <= len(set(job_ids)) for earlier, later in pairwise(turns))


@given(jobs, st.integers(1, 5))
def test_a_cancelled_job_leaves_nothing_behind(job_ids: list[int], cancelled: int) -> None:
    scheduler = queued(job_ids)
    scheduler.cancel(cancelled)
    assert len(scheduler) == sum(job_id != cancelled for job_id in job_ids)
    assert all(work.job_id != cancelled for batch in drained(scheduler, 3) for work in batch)


def test_clearing_hands_back_what_was_dropped() -> None:
    scheduler = queued([1, 2, 1])
    assert sorted(work.work_id for work in scheduler.clear()) == [0, 1, 2]
    assert len(scheduler) == 0


def test_a_job_that_was_just_served_stands_behind_one_that_came_later() -> None:
    scheduler = queued([1])
    assert next_jobs(scheduler) == [1]
    scheduler.add(Recognise(10, 1, REQUEST))
    scheduler.add(Recognise(11, 1, REQUEST))
    scheduler.add(Recognise(12, 2, REQUEST))
    assert [next_jobs(scheduler) for _ in range(3)] == [[2], [1], [1]]


def test_a_long_file_is_not_starved_by_ever_new_short_ones() -> None:
    scheduler = queued([1, 1, 1])
    order: list[int] = []
    for number in range(9):
        scheduler.add(Recognise(100 + number, 10 + number, REQUEST))
        order += next_jobs(scheduler)
    assert order.count(1) == 3


@given(jobs, st.integers(1, 8), st.integers(0, 8), st.sets(st.integers(1, 5)))
def test_the_last_places_are_for_jobs_that_have_none(
    job_ids: list[int], places: int, reserved: int, present: set[int]
) -> None:
    batch = queued(job_ids).next_batch(places, reserved=reserved, present=present)
    holders = set(present)
    for taken, work in enumerate(batch):
        assert taken < places - reserved or work.job_id not in holders
        holders.add(work.job_id)
    left = set(job_ids) - {work.job_id for work in batch}
    assert len(batch) == places or left <= present, "a job without a place is left out of one that is free"


def test_a_long_file_alone_leaves_the_reserved_places_free_and_a_newcomer_takes_one() -> None:
    scheduler = queued([1] * 20 + [2])
    assert [work.job_id for work in scheduler.next_batch(16, reserved=2)] == [1, 2, *[1] * 12]
    alone = queued([1] * 20)
    assert len(alone.next_batch(16, reserved=2)) == 14


URGENT = RecognitionRequest(samples=np.zeros(1, np.float32), urgent=True)


def test_somebody_who_is_speaking_is_heard_before_files() -> None:
    scheduler = queued([1, 1, 2])
    scheduler.add(Recognise(10, 3, URGENT))
    scheduler.add(Recognise(11, 4, URGENT))
    assert next_jobs(scheduler) == [3]
    assert [work.job_id for work in scheduler.next_batch(3)] == [4, 1, 2]


@given(st.integers(1, 4), st.integers(1, 20))
def test_a_file_has_its_turn_among_ever_new_live_windows(max_batch: int, files: int) -> None:
    scheduler = queued([1] * files)
    order: list[int] = []
    for number in range((URGENT_IN_A_ROW + 1) * files):
        scheduler.add(Recognise(100 + number, 10 + number, URGENT))
        order += [work.job_id for work in scheduler.next_batch(max_batch)]
    assert order.count(1) == files
    if max_batch == 1:
        places = [place for place, job_id in enumerate(order) if job_id == 1]
        assert all(later - earlier <= URGENT_IN_A_ROW + 1 for earlier, later in pairwise([-1, *places]))
