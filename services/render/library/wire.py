"""Between the contract's templates and ours."""

from collections.abc import Callable, Sequence

from libs.rpc.resources import updated
from libs.times import timestamp
from services.render.engine.model.parts import PARTS, TemplateWarning, dialect_of
from services.render.library.model import Template
from tessera.render.v1 import template_pb2
from tessera.render.v1 import template_service_pb2 as pb

_UPDATABLE = ("dialect", *PARTS)


def template_of(template: template_pb2.Template) -> Template:
    """What a caller can set of a template."""
    sources = {part: getattr(template, part) for part in PARTS}
    return Template(template.template_id, 0, sources, dialect_of(template.dialect))


def change_of(request: pb.UpdateTemplateRequest) -> Callable[[Template | None], Template]:
    """What an update makes of a template: all of it where there is none."""

    def change(stored: Template | None) -> Template:
        if stored is None:
            return template_of(request.template)
        return template_of(updated(template_pb(stored), request.template, request.update_mask, _UPDATABLE))

    return change


def template_pb(template: Template) -> template_pb2.Template:
    """To the contract."""
    return template_pb2.Template(
        template_id=template.template_id,
        version=template.version,
        dialect=template_pb2.Dialect.ValueType(int(template.dialect)),
        create_time=timestamp(template.created),
        update_time=timestamp(template.updated),
        etag=template.etag if template.version else "",
        **template.sources,
    )


def warnings_pb(warnings: Sequence[TemplateWarning]) -> list[template_pb2.TemplateWarning]:
    """To the contract."""
    return [template_pb2.TemplateWarning(**one.fields) for one in warnings]
