"""Shows what a template would say, without a message."""

from collections.abc import Mapping

from libs.errors import NotFound
from libs.unsubscribe import Links
from services.render import domain
from services.render.domain import Advice, Ingredients
from services.render.handlers.library import Library
from services.render.ports import Engine, Neighbours


class Previews:
    """Renders for those who write templates."""

    def __init__(self, library: Library, neighbours: Neighbours, engine: Engine, links: Links) -> None:
        self._library = library
        self._neighbours = neighbours
        self._engine = engine
        self._links = links

    async def preview(self, sources: Mapping[str, str], context: bytes) -> Mapping[str, str]:
        """Fill an unsaved template with a context of the caller's."""
        every = self._library.complete(sources)
        await self._engine.check(every)
        return domain.finished(await self._engine.render(every, context))

    async def render(
        self, template_id: str, profile_id: str, recommendations: int
    ) -> tuple[Mapping[str, str], bytes]:
        """Fill a stored template for one person; returns the parts and the context."""
        template = await self._library.template(template_id)
        person = (await self._neighbours.people([profile_id])).get(profile_id)
        if person is None:
            raise NotFound(f"nobody has profile {profile_id}", profile_id=profile_id)
        asked = [person.profile_id]
        segments = await self._neighbours.segments(asked) if person.is_personalizable else {}
        wanted = recommendations if person.is_analysable else 0
        advice = await self._neighbours.advice(asked, wanted) if wanted else {}
        context = domain.context_of(
            Ingredients(
                person,
                segments=segments.get(person.profile_id, ()),
                advice=advice.get(person.profile_id, Advice()),
                # Not the person's own link: whoever looks at a preview must not unsubscribe anybody.
                unsubscribe_url=self._links.preview_url,
            )
        )
        return domain.finished(await self._engine.render(template.sources, context)), context
