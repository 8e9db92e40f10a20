"""Judges recommend's training on Online Retail: python bench/recommend_quality.py [DATA].

Trains before 2011-11-09 and judges what people bought in the month that follows, as
`reference/models.md` does. What the blend needs to know is chosen on the month before the cutoff.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.replay import online_retail, retail_file
from cli.replay.call import time_of
from services.recommend.interactions.model import EVENT_NAMES, Interest, Person, Update, touches_of
from services.recommend.training.model.data import gather
from services.recommend.training.model.evaluation import WINDOW_DAYS, Figures, evaluate

CUTOFF = datetime(2011, 11, 9, tzinfo=UTC)
END = datetime(2011, 12, 10, tzinfo=UTC)
BASELINES = (
    ("own frequency + 30-day popularity", ".265 / .351", "–"),
    ("ALS 128", ".232 / .279", "–"),
    ("EASE λ=200", ".202 / .264", ".105 / .104"),
    ("plain blend", "–", ".111 / .111"),
    ("30-day popularity", "–", ".076 / .086"),
)


def interests(path: Path) -> Iterator[tuple[object, str, Interest]]:
    """What recommend would have stored of the replay."""
    people: dict[str, Person] = defaultdict(lambda: Person(""))
    for _, call in online_retail.calls(path):
        name = call.get("event", "")
        if name not in EVENT_NAMES:
            continue
        micros = int(time_of(call).timestamp() * 1_000_000)
        touches = touches_of(name, call["properties"], micros, call["messageId"].encode())
        person = people[call.get("userId") or call["anonymousId"]]
        person.apply(Update("", person.revision + 1, touches=touches))
    for who, person in people.items():
        yield from ((who, product_id, interest) for product_id, interest in person.interests.items())


def days(moment: datetime) -> float:
    """Days since 1970."""
    return moment.timestamp() / 86_400


def shown(figures: Figures) -> str:
    """As the reference writes them."""
    return f"{figures.recall:.3f} / {figures.ndcg:.3f}".replace("0.", ".")


def main() -> None:
    """Print the table."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared"
    touches = gather(interests(retail_file.find(data)))
    started = time.perf_counter()
    report = evaluate(touches, days(CUTOFF), days(END), WINDOW_DAYS)
    assert report is not None
    seconds = time.perf_counter() - started
    rows = [
        ("**recommend**", shown(report.everything), shown(report.novel)),
        ("popularity, as recommend counts it", shown(report.popularity), shown(report.popularity_novel)),
        *BASELINES,
    ]
    print(f"{report.everything.people:,} buyers, {report.novel.people:,} with something new; {seconds:.0f} s")
    print(f"{report.blend}")
    print("\n| R@20 / NDCG@20 | all | novel only |\n|---|---|---|")
    for name, everything, novel in rows:
        print(f"| {name} | {everything} | {novel} |")


if __name__ == "__main__":
    main()
