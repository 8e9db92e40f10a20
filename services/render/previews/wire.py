"""Between the contract's previews and ours."""

from collections.abc import Sequence

from libs.errors import Required
from services.render.engine.model.parts import PARTS, TemplateWarning, dialect_of
from services.render.library.model import Template
from services.render.previews.model import Shown, Source
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.render.v1 import template_pb2


def template_of(template: template_pb2.Template) -> Template:
    """An unsaved template."""
    sources = {part: getattr(template, part) for part in PARTS}
    return Template(template.template_id, 0, sources, dialect_of(template.dialect))


def source_of(request: pb.RenderForProfileRequest) -> Source:
    """What is to be rendered."""
    which = request.WhichOneof("source")
    if which is None:
        raise Required("source", "is required: template_id, campaign_id or template")
    if which == "template":
        return Source(template=template_of(request.template))
    return Source(campaign_id=request.campaign_id, template_id=request.template_id)


def test_source_of(request: pb.SendTestRequest) -> Source:
    """What is to be tried out."""
    if not request.campaign_id:
        raise Required("campaign_id", "is required")
    template = template_of(request.template) if request.HasField("template") else None
    return Source(campaign_id=request.campaign_id, template=template)


def previewed_pb(shown: Shown) -> pb.PreviewTemplateResponse:
    """To the contract."""
    return pb.PreviewTemplateResponse(**shown.parts, warnings=warnings_pb(shown.warnings))


def rendered_pb(shown: Shown) -> pb.RenderForProfileResponse:
    """To the contract."""
    return pb.RenderForProfileResponse(
        **shown.parts, context_json=shown.context, warnings=warnings_pb(shown.warnings)
    )


def warnings_pb(warnings: Sequence[TemplateWarning]) -> list[template_pb2.TemplateWarning]:
    """To the contract."""
    return [template_pb2.TemplateWarning(**one.fields) for one in warnings]
