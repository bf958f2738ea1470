"""Who is measured when, and how often: no measuring here, only arithmetic."""

import re
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Budget:
    """Seconds for everything, and the rounds that are worth their time."""

    seconds: Optional[float]  # None: as long as it takes
    most: int  # rounds of one workload
    extra: int  # more rounds for a row whose spread is above the limit
    retry_share: float = 0.15  # of the seconds, for rounds that were disturbed


# Below what is promised: the reports are written and the last measurement ends after it; a machine may be slower.
BUDGETS = {"smoke": Budget(None, 1, 0, 0), "quick": Budget(280, 5, 2), "full": Budget(6600, 15, 4)}


def budget_for(mode, rounds):
    """--rounds N is exactly N rounds, whatever they take."""
    return Budget(None, rounds, 0) if rounds else BUDGETS[mode]


def order(participants, turn, place):
    """The participants of one round of one workload: the first one differs from round to round and row to row.

    Every other round goes backwards, lest each always inherits the machine from the same one. For rows with a single
    round the rows alternate as well, in blocks in which each comes first once.
    """
    if not participants:
        return []
    start, step = (turn + place) % len(participants), -1 if (turn + place // len(participants)) % 2 else 1
    return [participants[(start + step * i) % len(participants)] for i in range(len(participants))]


def allot(costs, done, seconds, most, enough=None):
    """How many rounds each workload gets in all, if a round costs costs[name] and done[name] are made.

    The next round always goes to the one that has the fewest, so that none has five while another has one that could
    have had two; of these the cheapest first. One for which no time is left keeps what it has. enough[name]: rounds
    after which it needs no more.
    """
    rounds = {name: done.get(name, 0) for name in costs}
    waiting = set(costs)
    while waiting:
        name = min(waiting, key=lambda n: (rounds[n], costs[n], n))
        fits = seconds is None or costs[name] <= seconds
        if rounds[name] >= min(most, (enough or {}).get(name, most)) or not fits:
            waiting.discard(name)
            continue
        rounds[name] += 1
        if seconds is not None:
            seconds -= costs[name]
    return rounds


# Of the time of the quick mode, per row: the rows of these groups are many and short, or few and long.
WEIGHTS = {"micro": 0.5, "programs": 3.0}
CHEAP = 2.0  # seconds for a round: never too long


def weight(group):
    return WEIGHTS.get(group, 1.0)


def too_long(predicted, seconds_left, group, groups_left):
    """Whether a first round takes much more than its share of the time that is left; groups_left: of the rows after."""
    if seconds_left is None or predicted <= CHEAP:
        return False
    share = weight(group) / (weight(group) + sum(map(weight, groups_left)))
    return predicted > 1.5 * max(seconds_left, 0) * share


def stem(name):
    """What rows have in common that differ in their last argument: their costs are alike."""
    head, slash, last = name.rpartition("/")
    return head if slash and re.match(r"(\w+:)?\d", last) else name
