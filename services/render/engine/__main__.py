"""A rendering process: reads jobs from its standard input, writes results to its standard output.

The kernel ends it when one job uses up its processor time, and refuses it memory beyond a limit:
nothing inside Python stops a template that spins in C. Processor time, not the clock's, so that a
machine under load fails no innocent template. It ends with its parent, whose pipe then closes.
"""

import resource
import signal
import sys
from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from services.render.engine.model import language
from services.render.engine.model.parts import HTML, TEXT
from services.render.engine.model.text import text_template
from services.render.engine.wire import LENGTH_BYTES, Job, Result, decode_job, framed


def run(jobs: BinaryIO, results: BinaryIO, seconds: float) -> None:
    """Work until the jobs end."""
    while len(length := jobs.read(LENGTH_BYTES)) == LENGTH_BYTES:
        # The default action of SIGPROF is to end the process, whatever Python is doing.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        result = work(decode_job(jobs.read(int.from_bytes(length, "big"))))
        signal.setitimer(signal.ITIMER_PROF, 0)
        results.write(framed(result))
        results.flush()


def work(job: Job) -> Result:
    """Check a template, or fill it."""
    try:
        if job.context is None:
            parts = _completed(job.parts)
            warnings = [w for part, source in parts.items() for w in language.check(part, source)]
            return Result(parts, warnings=warnings)
        # Unlike others it keeps whole numbers of any length.
        context = msgspec.json.decode(job.context)
        return Result({part: language.render(part, source, context) for part, source in job.parts.items()})
    except language.Refused as refused:
        return Result({}, refused.complaint)


def _completed(parts: Mapping[str, str]) -> Mapping[str, str]:
    """With a text made from the HTML where there is none: here, since it may take its time as well."""
    if parts.get(HTML) and parts.get(TEXT) == "":
        return {**parts, TEXT: text_template(parts[HTML])}
    return parts


if __name__ == "__main__":
    megabytes = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    # A dump of a process that ran into its limit would hold personal data.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    run(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
