"""What notify copies from others, and `kello replay notify` makes again."""

from shared.messaging.projections import Copy, Projection
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.hr import EmployeeChanged, EmployeeHired, EmployeeTerminated

projections = {
    "recipients": Projection(
        (CustomerProfile, ProfileErased, EmployeeHired, EmployeeChanged, EmployeeTerminated),
        [Copy("recipient", ours=("bounces",))],
    ),
}
