"""What billing copies from others, and `kello replay billing` makes again."""

from shared.messaging.projections import Copy, Projection
from shared.schemas.customer import CustomerProfile, ProfileErased

projections = {
    "customers": Projection((CustomerProfile, ProfileErased), [Copy("customer", ours=("version", "drafts"))]),
}
