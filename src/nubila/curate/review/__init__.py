"""Labels looked through by eye: what is decided, where it is kept, and what comes of it.

The page itself (`server`) needs the extra ``review``; everything else here does not.
"""

from nubila.curate.review.apply import Applied, apply_decisions
from nubila.curate.review.export import export_decisions
from nubila.curate.review.items import Item, read_items
from nubila.curate.review.session import Review
from nubila.curate.review.store import ACTIONS, Decision, ReviewStore

__all__ = [
    "ACTIONS",
    "Applied",
    "Decision",
    "Item",
    "Review",
    "ReviewStore",
    "apply_decisions",
    "export_decisions",
    "read_items",
]
