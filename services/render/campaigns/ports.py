"""What keeping campaigns needs from outside."""

from services.render.campaigns.model import Campaign
from services.render.model.resources import Store

Campaigns = Store[Campaign]
