import pytest

from lithophone.engine.admission import Admission
from lithophone.errors import DrainingError, OverloadedError


def test_one_request_too_many_is_told_when_to_come_back() -> None:
    admission = Admission(1)
    with admission.admit():
        with pytest.raises(OverloadedError) as failure, admission.admit():
            pass
        assert int(failure.value.headers["Retry-After"]) >= 1
    with admission.admit():
        pass


def test_a_closed_door_lets_nobody_in_and_those_inside_go_on() -> None:
    admission = Admission(2)
    with admission.admit():
        admission.drain()
        with pytest.raises(DrainingError), admission.admit():
            pass
    with pytest.raises(DrainingError):
        admission.require_open()
    assert admission.draining
