# Copyright 2026 the Resonance authors. Licensed under the Apache License, Version 2.0.
"""A user's own reward: what it is called with, side by side, within its time, and nothing taken on trust."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from resonance.rewards import Completions, make_rewards, score

TEXTS = ("one", "three", "seventeen")


def run(*entries, texts=TEXTS, **columns):
    rewards = make_rewards(
        [{"function": f"my_rewards:{entry}"} if isinstance(entry, str) else entry for entry in entries]
    )
    count = len(texts)
    batch = Completions(texts, ["p"] * count, [["a.png"]] * count, [[7]] * count, columns)
    return score(rewards, batch)


def test_a_function_is_called_with_what_it_names(my_rewards):
    my_rewards(
        "def everything(completions, prompts, images, **columns):\n"
        "    assert prompts == ['p'] * 3 and images == [['a.png']] * 3\n"
        "    assert columns == {'completion_ids': [[7]] * 3, 'level': [1, 2, 3]}\n"
        "    return [len(text) for text in completions]\n"
        "def level(level, completion_ids):\n    return level\n"
        "def limited(completions, *, limit, level=None):\n"
        "    assert level == [1, 2, 3]\n    return [len(text) < limit for text in completions]\n"
    )
    entry = {"function": "my_rewards:limited", "limit": 5, "label": "short", "weight": 0.5}
    found = run("everything", "level", entry, level=[1, 2, 3])
    assert found.parts == {"everything": [3, 5, 9], "level": [1, 2, 3], "short": [1, 0, 0]}
    assert found.totals == [4.5, 7, 12]


def test_none_leaves_a_reward_out(my_rewards):
    my_rewards("def some(completions):\n    return [None, 1, None]\n")
    assert run("some").totals == [None, 1.0, None] and run("some").unscored == [0, 2]


def test_arrays_and_numbers_of_other_libraries_are_numbers(my_rewards):
    my_rewards(
        "import numpy, torch\n"
        "def array(completions):\n    return numpy.arange(3, dtype='float32')\n"
        "def tensor(completions):\n    return torch.arange(3).bfloat16()\n"
        "def scalars(completions):\n    return [numpy.float32(1), torch.tensor(2.0), True]\n"
    )
    assert run("array", "tensor", "scalars").parts == {"array": [0, 1, 2], "tensor": [0, 1, 2], "scalars": [1, 2, 1]}


def test_asynchronous_rewards_run_at_the_same_time_and_beside_the_others(my_rewards):
    my_rewards(
        "import asyncio, time\n"
        "async def one(completions):\n    await asyncio.sleep(0.3)\n    return [1] * 3\n"
        "async def two(completions):\n    await asyncio.sleep(0.3)\n    return [2] * 3\n"
        "def three(completions):\n    time.sleep(0.3)\n    return [3] * 3\n"
        "class Judge:\n    async def __call__(self, completions):\n        return [4] * 3\n"
        "judge = Judge()\n"
    )
    start = time.monotonic()
    found = run("one", "two", "three", "judge")
    assert time.monotonic() - start < 0.75, "0.3 s together, not 0.9 s one after another"
    assert list(found.parts) == ["one", "two", "three", "judge"] and found.totals == [10, 10, 10]


def test_asynchronous_rewards_share_one_loop_over_batches(my_rewards):
    my_rewards("import asyncio\nasync def loop(completions):\n    return [id(asyncio.get_running_loop())] * 3\n")
    assert run("loop").totals == run("loop").totals


def test_other_rewards_run_in_this_thread(my_rewards):
    my_rewards("import threading\ndef thread(completions):\n    return [threading.get_ident()] * 3\n")
    assert run("thread").totals == [threading.get_ident()] * 3


HANGING = {
    "sleeps": "import time\ndef sleeps(completions):\n    time.sleep(30)\n",
    "spins": "def spins(completions):\n    while True:\n        pass\n",
    "catches": (
        "import time\ndef catches(completions):\n"
        "    try:\n        time.sleep(30)\n    except Exception:\n        return [0] * 3\n"
    ),
    "backtracks": "import re\ndef backtracks(completions):\n    return [re.fullmatch('(a+)+b', 'a' * 40)] * 3\n",
    "waits": "import asyncio\nasync def waits(completions):\n    await asyncio.sleep(30)\n",
}


@pytest.mark.parametrize("name", HANGING)
def test_a_reward_that_hangs_is_stopped(name, my_rewards):
    my_rewards(HANGING[name])
    start = time.monotonic()
    with pytest.raises(ValueError) as error:
        run({"function": f"my_rewards:{name}", "timeout": 0.3})
    assert time.monotonic() - start < 5
    assert str(error.value) == (
        f"rewards[0] (my_rewards:{name}) returned nothing within 0.3 s for 3 completions. If it is right and only "
        f"slow, give it more in its entry: timeout: 0.6"
    )


def test_a_built_in_with_a_pattern_that_never_ends_is_stopped_too():
    rewards = make_rewards([{"name": "format", "pattern": "(a+)+b", "timeout": 0.3}])
    with pytest.raises(ValueError, match=r"rewards\[0\] \(format\) returned nothing within 0.3 s"):
        score(rewards, Completions(["a" * 40], ["?"], [[]]))


def test_no_timer_is_left_behind(my_rewards):
    my_rewards("def quick(completions):\n    return [0] * 3\n")
    before = signal.getsignal(signal.SIGALRM)
    run("quick")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0) and signal.getsignal(signal.SIGALRM) is before


def test_outside_the_main_thread_it_runs_and_warns_once(my_rewards, caplog):
    my_rewards("def quick(completions):\n    return [5] * 3\n")
    found = []
    thread = threading.Thread(target=lambda: found.extend(run("quick").totals))
    thread.start()
    thread.join()
    assert found == [5, 5, 5]
    assert "outside the main thread" in caplog.text and "timeouts are not kept" in caplog.text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise KeyError('level')", "raised KeyError: 'level'"),
        ("raise TimeoutError('the judge is asleep')", "raised TimeoutError: the judge is asleep"),
        ("raise ValueError('no')", "raised ValueError: no"),
        (
            "return [1, float('nan'), 0]",
            "returned nan for completion 1 ('three'); it must be a finite number (of 32 bits",
        ),
        ("return [1, 0, float('inf')]", "returned inf for completion 2 ('seventeen')"),
        ("return [1e39, 0, 0]", "returned 1e+39 for completion 0 ('one')"),
        ("return [0, -(10**400), 0]", "returned -1000"),
        ("return [1, 0]", "returned 2 values for 3 completions; it must return one each, in their order"),
        ("return [1, 0, 0, 0]", "returned 4 values for 3 completions"),
        ("return ['1', 0, 0]", "returned '1' for completion 0 ('one')"),
        ("return [[1], 0, 0]", "returned [1] for completion 0 ('one')"),
        ("return '100'", "returned str; it must return a list of 3 numbers, with None for a completion"),
        ("return 1.0", "returned float; it must return a list of 3 numbers"),
        ("return None", "returned NoneType; it must return a list of 3 numbers"),
        ("return {'a': 1}", "returned dict; it must return a list of 3 numbers"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_a_reward_may_not_do(kind, body, expected, my_rewards):
    my_rewards(f"{kind} wrong(completions):\n    {body}\n")
    with pytest.raises(ValueError) as error:
        run("wrong")
    assert str(error.value).startswith(f"rewards[0] (my_rewards:wrong) {expected}")
    if "raise" in body:
        assert type(error.value.__cause__).__name__ in body, "the traceback of the function is kept"


def test_a_reward_that_ends_the_process_is_named(my_rewards):
    my_rewards(
        "import sys\ndef wrong(completions):\n    sys.exit(0)\n"
        "async def waits(completions):\n    sys.exit(3)\nasync def right(completions):\n    return [1] * 3\n"
    )
    with pytest.raises(ValueError, match=r"rewards\[0\] \(my_rewards:wrong\) raised SystemExit: 0"):
        run("wrong")
    with pytest.raises(ValueError, match=r"rewards\[0\] \(my_rewards:waits\): raised SystemExit: 3"):
        run("waits")
    assert run("right").parts["right"] == [1, 1, 1], "other asynchronous rewards go on"


def test_a_reward_that_changes_its_lists_changes_nothing_else(my_rewards):
    my_rewards(
        "def first(completions, level):\n    completions.sort(reverse=True)\n    level.clear()\n    return [0] * 3\n"
        "def second(completions, level):\n    return [len(text) + n for text, n in zip(completions, level)]\n"
    )
    assert run("first", "second", level=[1, 2, 3]).parts["second"] == [4, 7, 12]


def test_a_long_completion_is_shown_by_its_beginning(my_rewards):
    my_rewards("def wrong(completions):\n    return ['x']\n")
    with pytest.raises(ValueError, match=r"for completion 0 \('a{57}\.\.\.'\)"):
        run("wrong", texts=("a" * 500,))


def test_a_column_that_is_missing_is_named_at_the_first_batch_too(my_rewards):
    my_rewards("def needy(completions, solution):\n    return [0] * 3\n")
    with pytest.raises(
        ValueError,
        match=r"\(my_rewards:needy\): it needs 'solution', which is no column of the data \(nearest: solutions",
    ):
        run("needy", solutions=[1, 2, 3])


def test_a_parameter_that_is_a_column_too_is_refused(my_rewards):
    my_rewards("def f(completions, level):\n    return level\n")
    with pytest.raises(ValueError, match="'level' is a parameter here and a column of the data; rename one"):
        run({"function": "my_rewards:f", "level": 3}, level=[1, 2, 3])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(completions, /):\n    pass\n", "parameter 'completions' cannot be passed by name; take the '/' out"),
        (
            "def f(texts):\n    pass\n",
            "it takes no completions; write it as fn(completions, prompts, images, **columns)",
        ),
        ("f = 3\n", "Reward 'my_rewards:f' is int, which cannot be called; name a function"),
    ],
)
def test_functions_that_cannot_be_called_are_refused_at_the_start(source, expected, my_rewards):
    my_rewards(source)
    with pytest.raises(ValueError) as error:
        make_rewards([{"function": "my_rewards:f"}])
    assert expected in str(error.value)
