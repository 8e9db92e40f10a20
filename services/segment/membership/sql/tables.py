"""How long membership's rows are kept, and how a person's are erased."""

from datetime import timedelta

from libs.database.tables import Age, Erased, Kept, Lasting, Nobodys
from libs.profile_feed import SetAside

_AS_LONG = Lasting("as long as the person")

TABLES = (
    Kept("segment.states", _AS_LONG, Erased()),
    Kept("segment.parts", _AS_LONG, Erased()),
    Kept("segment.timers", _AS_LONG, Erased()),
    Kept("segment.memberships", _AS_LONG, Erased()),
    # Whoever is rebuilt or merged fires nothing that was over a day before; updates are at most as late as
    # their topic keeps them, seven days, and an effect is taken back for seven days more.
    Kept("segment.triggered", Age("due", timedelta(days=35)), Erased()),
    Kept("segment.member_counts", Lasting("a row a segment and partition"), Nobodys("counts")),
    Kept("segment.partitions", Lasting("a row a partition"), Nobodys()),
    Kept("segment.plans", Lasting("one row"), Nobodys()),
    # As long as their operations.
    Kept("segment.backfills", Age("created", timedelta(days=90)), Nobodys()),
    Kept("segment.series", Lasting("as long as a definition reads it"), Nobodys()),
    Kept("segment.traits", Lasting("as long as a definition reads it"), Nobodys("names of traits")),
    Kept(
        "segment.event_names",
        Lasting("their number is bounded"),
        Nobodys("names of events, views and traits"),
    ),
    SetAside.table("segment"),
)
